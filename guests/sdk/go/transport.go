// Package wharf sends HTTP requests from guests of wharf: programs built with GOOS=wasip1 GOARCH=wasm, which have no
// network of their own. It speaks the `wasi_experimental_http` ABI.
//
//	client := http.Client{Transport: wharf.Transport{}}
//	response, err := client.Get("http://localhost:8080/")
//
// A call of the host cannot be interrupted, and no other goroutine runs meanwhile. So a context, or the time limit of a
// client, is looked at before a request is sent, once its response begins, and before and after each read of the body;
// how long the host itself waits is set where the guest is started.
package wharf

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Transport is an http.RoundTripper that has the host send each request.
//
// The body of a request is read to its end before it is sent; that of a response is read as it comes. A response whose
// body is neither read to its end nor closed takes one of the open responses that the guest may have. Depending on how
// the guest is started, the host follows redirects itself, and an http.Client sees the last response only.
//
// Errors that are not those of a context or of the request's own body are of type *Error.
type Transport struct{}

var _ http.RoundTripper = Transport{}

// RoundTrip sends a request, and returns once the head of the response is there.
func (Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := readBody(request)
	if err != nil {
		return nil, err
	}
	target, err := target(request)
	if err != nil {
		return nil, err
	}
	lines, err := headerLines(request.Header)
	if err != nil {
		return nil, err
	}
	method := request.Method
	if method == "" {
		method = http.MethodGet
	}
	ctx := request.Context()
	if err := ended(ctx); err != nil {
		return nil, err
	}
	status, handle, code := hostRequest(target, method, lines, body)
	if code != 0 {
		return nil, &Error{Op: "send", Code: code}
	}
	incoming := &incoming{ctx: ctx, handle: handle}
	header, err := readHeader(handle)
	if err == nil {
		err = ended(ctx)
	}
	if err != nil {
		incoming.Close()
		return nil, err
	}
	return response(request, status, header, incoming), nil
}

// ended returns why a context has ended, if it has. The timer of a deadline that passes during a call of the host has
// had no chance to run, so the clock is asked too.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// readBody reads the body of a request and closes it, as a RoundTripper has to in any case.
func readBody(request *http.Request) ([]byte, error) {
	if request.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(request.Body)
	if closing := request.Body.Close(); err == nil {
		err = closing
	}
	return body, err
}

// target returns the URL to ask for: without what does not go over the wire.
func target(request *http.Request) (string, error) {
	if request.URL == nil || request.URL.Host == "" {
		return "", errors.New("wharf: the request has no URL with a host")
	}
	if request.Host != "" && request.Host != request.URL.Host {
		return "", errors.New("wharf: the header Host is always that of the URL, and the request wants another one")
	}
	bare := *request.URL
	bare.User = (*url.Userinfo)(nil)
	bare.Fragment, bare.RawFragment = "", ""
	return bare.String(), nil
}

// headerLines writes headers as the ABI has them: a `name:value` line each.
func headerLines(header http.Header) (string, error) {
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	sort.Strings(names)
	var lines strings.Builder
	for _, name := range names {
		for _, value := range header[name] {
			// A line end would make two headers of it, a colon in the name would move the value's beginning.
			if name == "" || strings.ContainsAny(name, ":\r\n") || strings.ContainsAny(value, "\r\n") {
				return "", &Error{Op: "send", Code: InvalidEncoding}
			}
			lines.WriteString(name + ":" + value + "\n")
		}
	}
	return lines.String(), nil
}

// The room for headers at first, and that at which a host that asks for more is not believed.
const (
	headerRoom    = 4 << 10
	headerRoomMax = 16 << 20
)

func readHeader(handle uint32) (http.Header, error) {
	code := BufferTooSmall
	for room := headerRoom; code == BufferTooSmall && room <= headerRoomMax; room *= 2 {
		var count int
		buffer := make([]byte, room)
		if count, code = hostHeaders(handle, buffer); code == 0 {
			return parseHeader(string(buffer[:count])), nil
		}
	}
	return nil, &Error{Op: "read the headers", Code: code}
}

func parseHeader(lines string) http.Header {
	header := http.Header{}
	for _, line := range strings.Split(lines, "\n") {
		// A name cannot hold a colon; all others belong to the value.
		if name, value, ok := strings.Cut(line, ":"); ok {
			header.Add(name, value)
		}
	}
	return header
}

func response(request *http.Request, status int, header http.Header, body io.ReadCloser) *http.Response {
	length, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil || length < 0 {
		length = -1
	}
	return &http.Response{
		Status:        strings.TrimRight(strconv.Itoa(status)+" "+http.StatusText(status), " "),
		StatusCode:    status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          body,
		ContentLength: length,
		Request:       request,
	}
}

// incoming is the body of a response.
type incoming struct {
	ctx    context.Context
	handle uint32

	mutex sync.Mutex
	// What every further read returns.
	err      error
	released bool
}

// Read reads the bytes that came, and waits for some if none did.
func (body *incoming) Read(buffer []byte) (int, error) {
	body.mutex.Lock()
	defer body.mutex.Unlock()
	if body.err != nil {
		return 0, body.err
	}
	if len(buffer) == 0 {
		return 0, nil
	}
	count, err := body.next(buffer)
	if err != nil {
		body.err = err
		body.release()
	}
	return count, err
}

func (body *incoming) next(buffer []byte) (int, error) {
	if err := ended(body.ctx); err != nil {
		return 0, err
	}
	count, code := hostRead(body.handle, buffer)
	switch {
	case code != 0:
		return 0, &Error{Op: "read the body", Code: code}
	case count == 0:
		return 0, io.EOF
	}
	return count, ended(body.ctx)
}

// Close lets go of the response, of which the rest is lost. Closing it again does nothing.
func (body *incoming) Close() error {
	body.mutex.Lock()
	defer body.mutex.Unlock()
	body.release()
	body.err = http.ErrBodyReadAfterClose
	return nil
}

func (body *incoming) release() {
	if !body.released {
		body.released = true
		hostClose(body.handle)
	}
}
