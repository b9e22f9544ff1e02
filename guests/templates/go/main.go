// Command {{name}} is an HTTP server. Its listener is open already, at descriptor 3.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	wharf "wharf/guest"
)

// What /fetch asks.
const other = "https://example.com/"

// handler answers requests, and sends its own by transport.
func handler(transport http.RoundTripper) http.Handler {
	client := &http.Client{Transport: transport}
	routes := http.NewServeMux()
	routes.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(response, "hello from %s\n", request.URL.Path)
	})
	routes.HandleFunc("/echo", func(response http.ResponseWriter, request *http.Request) {
		// A body that breaks off ends the connection, by which the other side knows.
		if _, err := io.Copy(response, request.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	routes.HandleFunc("/fetch", func(response http.ResponseWriter, request *http.Request) {
		fetch(client, response, request)
	})
	return routes
}

// fetch passes on what another server says, as it comes.
func fetch(client *http.Client, response http.ResponseWriter, request *http.Request) {
	asking, err := http.NewRequestWithContext(request.Context(), http.MethodGet, other, nil)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	answer, err := client.Do(asking)
	switch {
	case errors.Is(err, wharf.DestinationNotAllowed):
		http.Error(response, other+" is not allowed", http.StatusBadGateway)
		return
	case err != nil:
		http.Error(response, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	response.WriteHeader(answer.StatusCode)
	if _, err := io.Copy(response, answer.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func main() {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err == nil {
		err = http.Serve(listener, handler(wharf.Transport{}))
	}
	fmt.Fprintln(os.Stderr, "{{name}}:", err)
	os.Exit(1)
}
