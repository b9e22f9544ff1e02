// Command hello-go is an HTTP server on Go's standard library, whose listener is open already, at descriptor 3.
//
// It answers `POST /hello` with a greeting that repeats the body, `GET /` with a line of help, and everything else with
// 404.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// The longest name that is greeted, in bytes.
const longestName = 64 * 1024

func answer(response http.ResponseWriter, request *http.Request) {
	switch request.Method + " " + request.URL.Path {
	case "GET /":
		fmt.Fprint(response, "POST a name to /hello\n")
	case "POST /hello":
		name, err := io.ReadAll(http.MaxBytesReader(response, request.Body, longestName))
		if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
			response.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			response.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(response, "Hello, %s!\n", name)
	default:
		response.WriteHeader(http.StatusNotFound)
	}
}

func run() error {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return fmt.Errorf("descriptor 3 is no listener: %w", err)
	}
	return http.Serve(listener, http.HandlerFunc(answer))
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "hello-go:", err)
		os.Exit(1)
	}
}
