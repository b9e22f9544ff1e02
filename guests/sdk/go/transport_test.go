//go:build !wasip1

package wharf

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"testing/quick"
	"time"
)

// fake is a host in memory.
type fake struct {
	// answer says what comes back: a response, or a code other than 0.
	answer func(sent) (scripted, Code)
	sent   []sent
	open   map[uint32]*scripted
	next   uint32
}

// sent is a request as it came.
type sent struct{ url, method, headers, body string }

// scripted is a response; its body comes in these pieces, and breaks off after them if fails is not 0.
type scripted struct {
	status      int
	headers     string
	headersFail Code
	pieces      []string
	fails       Code
	// Called before each read.
	reading func()
}

func (host *fake) request(url, method, headers string, body []byte) (int, uint32, Code) {
	request := sent{url, method, headers, string(body)}
	host.sent = append(host.sent, request)
	response, code := host.answer(request)
	if code != 0 {
		return 0, 0, code
	}
	handle := host.next
	host.next++
	host.open[handle] = &response
	return response.status, handle, 0
}

func (host *fake) close(handle uint32) {
	delete(host.open, handle)
}

func (host *fake) headers(handle uint32, buffer []byte) (int, Code) {
	response, ok := host.open[handle]
	if !ok {
		return 0, InvalidHandle
	}
	if response.headersFail != 0 {
		return 0, response.headersFail
	}
	if len(response.headers) > len(buffer) {
		return 0, BufferTooSmall
	}
	return copy(buffer, response.headers), 0
}

func (host *fake) read(handle uint32, buffer []byte) (int, Code) {
	response, ok := host.open[handle]
	if !ok {
		return 0, InvalidHandle
	}
	if response.reading != nil {
		response.reading()
	}
	for len(response.pieces) > 0 {
		count := copy(buffer, response.pieces[0])
		if response.pieces[0] = response.pieces[0][count:]; response.pieces[0] == "" {
			response.pieces = response.pieces[1:]
		}
		if count > 0 {
			return count, 0
		}
	}
	return 0, response.fails
}

// answering installs a host that answers every request in the same way. At the end of the test, nothing may be open.
func answering(t *testing.T, response scripted, code Code) *fake {
	return installed(t, func(sent) (scripted, Code) {
		copied := response
		copied.pieces = append([]string(nil), response.pieces...)
		return copied, code
	})
}

func installed(t *testing.T, answer func(sent) (scripted, Code)) *fake {
	host := &fake{answer: answer, open: map[uint32]*scripted{}}
	mock = host
	t.Cleanup(func() {
		mock = nil
		if len(host.open) > 0 {
			t.Errorf("%d responses are open", len(host.open))
		}
	})
	return host
}

var client = http.Client{Transport: Transport{}}

func request(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func TestARequestIsSentAsItWasBuilt(t *testing.T) {
	host := answering(t, scripted{status: 200}, 0)
	out := request(t, "PROPFIND", "http://name:secret@localhost:8080/a%2Fb?q=ü#part", "body")
	out.Header = http.Header{"B": {"x:y: z"}, "A": {"1", "2", ""}}
	response, err := Transport{}.RoundTrip(out)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	want := sent{"http://localhost:8080/a%2Fb?q=ü", "PROPFIND", "A:1\nA:2\nA:\nB:x:y: z\n", "body"}
	if host.sent[0] != want {
		t.Errorf("%q is not %q", host.sent[0], want)
	}
	if len(out.Header) != 2 || out.URL.User == nil {
		t.Error("the request was changed")
	}
}

func TestNoMethodIsGet(t *testing.T) {
	host := answering(t, scripted{status: 200}, 0)
	response, err := Transport{}.RoundTrip(&http.Request{URL: &url.URL{Scheme: "http", Host: "localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if host.sent[0].method != "GET" {
		t.Error(host.sent[0])
	}
}

func TestWhatCannotBeSentIsNot(t *testing.T) {
	host := answering(t, scripted{status: 200}, 0)
	for _, header := range []http.Header{
		{"A": {"b\nc:d"}}, {"A": {"ok", "b\r"}}, {"A\nB": {"c"}}, {"A:B": {"c"}}, {"": {"c"}},
	} {
		out := request(t, "GET", "http://localhost/", "")
		out.Header = header
		if _, err := (Transport{}).RoundTrip(out); !errors.Is(err, InvalidEncoding) {
			t.Errorf("%q: %v", header, err)
		}
	}
	other := request(t, "GET", "http://localhost/", "")
	other.Host = "example.com"
	if _, err := (Transport{}).RoundTrip(other); err == nil {
		t.Error("another host was accepted")
	}
	if _, err := (Transport{}).RoundTrip(&http.Request{URL: &url.URL{Path: "/"}}); err == nil {
		t.Error("a URL without a host was accepted")
	}
	broken := errors.New("broken")
	if _, err := client.Post("http://localhost/", "", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
	if len(host.sent) > 0 {
		t.Error(host.sent)
	}
}

// closing is a body that counts how often it is closed.
type closing struct {
	io.Reader
	closed int
}

func (body *closing) Close() error {
	body.closed++
	return nil
}

func TestTheBodyOfARequestIsClosed(t *testing.T) {
	for _, code := range []Code{0, RequestFailed} {
		answering(t, scripted{status: 200}, code)
		body := &closing{Reader: strings.NewReader("text")}
		response, err := Transport{}.RoundTrip(&http.Request{URL: &url.URL{Scheme: "http", Host: "a"}, Body: body})
		if err == nil {
			response.Body.Close()
		}
		if body.closed != 1 {
			t.Errorf("closed %d times", body.closed)
		}
	}
}

func TestErrorsCarryTheirCode(t *testing.T) {
	for code := Code(1); code < 15; code++ {
		answering(t, scripted{}, code)
		_, err := client.Get("http://localhost/")
		var failed *Error
		if !errors.As(err, &failed) || failed.Code != code || !errors.Is(err, code) {
			t.Errorf("%d: %v", code, err)
		}
		if unknown := strings.Contains(code.Error(), "unknown"); unknown != (code > TooManySessions) {
			t.Error(code)
		}
	}
}

func TestWithoutAHostEveryRequestFails(t *testing.T) {
	if _, err := client.Get("http://localhost/"); !errors.Is(err, HostFailed) {
		t.Error(err)
	}
}

func TestTheHeadOfAResponse(t *testing.T) {
	answering(t, scripted{status: 404, headers: "x-time:12:30:45\nset-cookie:a=1\nset-cookie:b=2\nx-empty:\ncontent-length:3\n"}, 0)
	response, err := client.Get("http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	want := http.Header{"X-Time": {"12:30:45"}, "Set-Cookie": {"a=1", "b=2"}, "X-Empty": {""}, "Content-Length": {"3"}}
	if !reflect.DeepEqual(response.Header, want) {
		t.Error(response.Header)
	}
	if response.Status != "404 Not Found" || response.StatusCode != 404 || response.ContentLength != 3 {
		t.Error(response)
	}
}

func TestALengthThatIsNoneIsUnknown(t *testing.T) {
	for _, text := range []string{"", "content-length:x\n", "content-length:-3\n", "content-length:99999999999999999999\n"} {
		answering(t, scripted{status: 599, headers: text}, 0)
		response, err := client.Get("http://localhost/")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.ContentLength != -1 || response.Status != "599" {
			t.Error(text, response)
		}
	}
}

func TestHeadersOfAnySizeAreRead(t *testing.T) {
	for _, size := range []int{headerRoom - 3, headerRoom - 2, 300_000} {
		answering(t, scripted{status: 200, headers: "x:" + strings.Repeat("v", size)}, 0)
		response, err := client.Get("http://localhost/")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if len(response.Header.Get("x")) != size {
			t.Error(size)
		}
	}
	for _, code := range []Code{MemoryAccess, BufferTooSmall} {
		answering(t, scripted{status: 200, headersFail: code}, 0)
		if _, err := client.Get("http://localhost/"); !errors.Is(err, code) {
			t.Error(err)
		}
	}
}

func TestHeadersComeBackFromLinesAsTheyWentIn(t *testing.T) {
	same := func(values map[uint16][]string) bool {
		header := http.Header{}
		for number, texts := range values {
			for _, text := range texts {
				header.Add("x-"+string(rune('a'+number%26)), strings.NewReplacer("\r", "", "\n", "").Replace(text))
			}
		}
		lines, err := headerLines(header)
		return err == nil && reflect.DeepEqual(parseHeader(lines), header)
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

func TestABodyIsReadAsItComes(t *testing.T) {
	answering(t, scripted{status: 200, pieces: []string{"one", "twothree"}}, 0)
	response, err := client.Get("http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4)
	for _, want := range []string{"one", "twot", "hree"} {
		if count, err := response.Body.Read(buffer); err != nil || string(buffer[:count]) != want {
			t.Error(string(buffer[:count]), err)
		}
	}
	for range []int{1, 2} {
		if count, err := response.Body.Read(buffer); count != 0 || err != io.EOF {
			t.Error(count, err)
		}
	}
	response.Body.Close()
	if _, err := response.Body.Read(buffer); err != http.ErrBodyReadAfterClose {
		t.Error(err)
	}
}

func TestABodyComesBackByteForByte(t *testing.T) {
	same := func(pieces []string, whole bool) bool {
		host := answering(t, scripted{status: 200, pieces: pieces}, 0)
		response, err := client.Get("http://localhost/")
		if err != nil {
			return false
		}
		var reader io.Reader = response.Body
		if !whole {
			reader = iotest.OneByteReader(reader)
		}
		read, err := io.ReadAll(reader)
		// Read to its end, it is closed.
		return err == nil && string(read) == strings.Join(pieces, "") && len(host.open) == 0
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

func TestABodyThatBreaksOffIsAnError(t *testing.T) {
	answering(t, scripted{status: 200, pieces: []string{"some"}, fails: RequestFailed}, 0)
	response, err := client.Get("http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	read, err := io.ReadAll(response.Body)
	if string(read) != "some" || !errors.Is(err, RequestFailed) {
		t.Error(string(read), err)
	}
	if _, err := response.Body.Read(make([]byte, 1)); !errors.Is(err, RequestFailed) {
		t.Error(err)
	}
}

func TestAClosedResponseClosesNoOther(t *testing.T) {
	host := answering(t, scripted{status: 200, pieces: []string{"text"}}, 0)
	first, err := client.Get("http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	first.Body.Close()
	host.next = 0
	second, err := client.Get("http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	first.Body.Close()
	if text, err := io.ReadAll(second.Body); string(text) != "text" || err != nil {
		t.Error(string(text), err)
	}
}

func TestAClientFollowsRedirects(t *testing.T) {
	host := installed(t, func(request sent) (scripted, Code) {
		if strings.HasSuffix(request.url, "/old") {
			return scripted{status: 307, headers: "location:/new?a=b\n"}, 0
		}
		return scripted{status: 200, pieces: []string{request.method, " ", request.body}}, 0
	})
	response, err := client.Post("http://localhost:8080/old", "text/plain", bytes.NewReader([]byte("text")))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if string(text) != "POST text" || err != nil {
		t.Error(string(text), err)
	}
	if len(host.sent) != 2 || host.sent[1].url != "http://localhost:8080/new?a=b" {
		t.Error(host.sent)
	}
}

func TestAContextEndsARequestBeforeItIsSent(t *testing.T) {
	host := answering(t, scripted{status: 200}, 0)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	passed, done := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer done()
	for _, ctx := range []context.Context{cancelled, passed} {
		if _, err := (Transport{}).RoundTrip(request(t, "GET", "http://a/", "").WithContext(ctx)); !errors.Is(err, ctx.Err()) {
			t.Error(err)
		}
	}
	if len(host.sent) > 0 {
		t.Error(host.sent)
	}
}

func TestAContextEndsAResponse(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	installed(t, func(sent) (scripted, Code) {
		cancel()
		return scripted{status: 200}, 0
	})
	if _, err := (Transport{}).RoundTrip(request(t, "GET", "http://a/", "").WithContext(ctx)); err != context.Canceled {
		t.Error(err)
	}
}

func TestAContextEndsABody(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	reads := 0
	answering(t, scripted{status: 200, pieces: []string{"a", "b", "c"}, reading: func() {
		if reads++; reads == 2 {
			cancel()
		}
	}}, 0)
	response, err := Transport{}.RoundTrip(request(t, "GET", "http://a/", "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if string(text) != "ab" || err != context.Canceled || reads != 2 {
		t.Error(string(text), err, reads)
	}
}
