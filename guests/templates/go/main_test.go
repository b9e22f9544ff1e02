package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	wharf "wharf/guest"
)

// origin is a transport that answers by itself.
type origin func(*http.Request) (*http.Response, error)

func (answer origin) RoundTrip(request *http.Request) (*http.Response, error) {
	return answer(request)
}

func call(transport http.RoundTripper, path, body string) (int, string) {
	recorder := httptest.NewRecorder()
	handler(transport).ServeHTTP(recorder, httptest.NewRequest("POST", path, strings.NewReader(body)))
	return recorder.Code, recorder.Body.String()
}

func TestItGreetsAndEchoes(t *testing.T) {
	if code, text := call(nil, "/there", ""); code != 200 || text != "hello from /there\n" {
		t.Error(code, text)
	}
	if code, text := call(nil, "/echo", "some text"); code != 200 || text != "some text" {
		t.Error(code, text)
	}
}

func TestItFetchesWhatItMay(t *testing.T) {
	allowed := origin(func(request *http.Request) (*http.Response, error) {
		if request.URL.String() != other {
			t.Error(request.URL)
		}
		body := io.NopCloser(strings.NewReader("from the origin"))
		return &http.Response{StatusCode: 203, Body: body, Request: request}, nil
	})
	if code, text := call(allowed, "/fetch", ""); code != 203 || text != "from the origin" {
		t.Error(code, text)
	}
	denied := origin(func(*http.Request) (*http.Response, error) {
		return nil, &wharf.Error{Op: "send", Code: wharf.DestinationNotAllowed}
	})
	if code, text := call(denied, "/fetch", ""); code != 502 || text != other+" is not allowed\n" {
		t.Error(code, text)
	}
}
