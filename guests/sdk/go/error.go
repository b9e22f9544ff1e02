package wharf

import "fmt"

// Code is what the ABI answers when something fails. It is an error, so that
//
//	errors.Is(err, wharf.DestinationNotAllowed)
//
// is true of whatever error it is the reason of.
type Code uint32

const (
	// InvalidHandle: the response is closed.
	InvalidHandle Code = 1
	// MemoryNotFound: the guest exports no memory.
	MemoryNotFound Code = 2
	// MemoryAccess: a buffer lies outside the guest's memory.
	MemoryAccess Code = 3
	// BufferTooSmall: the headers of the response are longer than any guest reads.
	BufferTooSmall Code = 4
	// HeaderNotFound: the response has no such header.
	HeaderNotFound Code = 5
	// NotUTF8: the URL, the method or a header is not UTF-8.
	NotUTF8 Code = 6
	// DestinationNotAllowed: the policy that the guest runs under does not allow this origin.
	DestinationNotAllowed Code = 7
	// InvalidMethod: not a method.
	InvalidMethod Code = 8
	// InvalidEncoding: a header that cannot be sent.
	InvalidEncoding Code = 9
	// InvalidURL: not a URL.
	InvalidURL Code = 10
	// RequestFailed: sending or receiving failed; name, connection, TLS, time limit, size limit.
	RequestFailed Code = 11
	// HostFailed: the host failed.
	HostFailed Code = 12
	// TooManySessions: the guest holds as many open responses as it may; close the body of one.
	TooManySessions Code = 13
)

var texts = map[Code]string{
	InvalidHandle:         "the response is closed",
	MemoryNotFound:        "the guest exports no memory",
	MemoryAccess:          "a buffer lies outside the guest's memory",
	BufferTooSmall:        "the answer is longer than the limit",
	HeaderNotFound:        "the response has no such header",
	NotUTF8:               "text is not UTF-8",
	DestinationNotAllowed: "the destination is not allowed",
	InvalidMethod:         "invalid method",
	InvalidEncoding:       "invalid header",
	InvalidURL:            "invalid URL",
	RequestFailed:         "the request failed",
	HostFailed:            "the host failed",
	TooManySessions:       "too many open responses",
}

// Error says what the code means.
func (code Code) Error() string {
	text, ok := texts[code]
	if !ok {
		text = "unknown error"
	}
	return fmt.Sprintf("%s (code %d)", text, uint32(code))
}

// Error is a call of the host that failed.
type Error struct {
	// Op is what was to be done, such as "send".
	Op string
	// Code is the reason.
	Code Code
}

// Error says what failed, and why.
func (err *Error) Error() string {
	return "cannot " + err.Op + ": " + err.Code.Error()
}

// Unwrap returns the code.
func (err *Error) Unwrap() error {
	return err.Code
}
