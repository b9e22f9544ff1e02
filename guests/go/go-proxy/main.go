// Command go-proxy is an HTTP server that hands each request on to one origin, and its answer back. Its listener is
// open already, at descriptor 3.
//
//	go-proxy ORIGIN
//
// Bodies of answers stream through. An origin that cannot be reached is answered with 502.
package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	wharf "wharf/guest"
)

func run(origin string) error {
	target, err := url.Parse(origin)
	if err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return fmt.Errorf("descriptor 3 is no listener: %w", err)
	}
	return http.Serve(listener, &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			// This also makes the origin's name the header Host.
			request.SetURL(target)
			request.SetXForwarded()
		},
		Transport:     wharf.Transport{},
		FlushInterval: -1,
	})
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go-proxy ORIGIN")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "go-proxy:", err)
		os.Exit(1)
	}
}
