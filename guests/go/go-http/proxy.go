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

// proxy hands each request on to one origin, and its answer back, as it comes. The listener is open already, at
// descriptor 3. An origin that cannot be reached is answered with 502, one that is too late with 504.
func proxy(args []string) error {
	target, err := url.Parse(args[0])
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
			// As it came, where ReverseProxy would write it in its own way.
			request.Out.URL.RawQuery = request.In.URL.RawQuery
			// Who asks is not known: preview 1 has no address of a peer.
			request.Out.Header.Set("X-Forwarded-Host", request.In.Host)
		},
		Transport:     wharf.Transport{},
		FlushInterval: -1,
		ErrorHandler:  unreached,
	})
}

// unreached answers in the place of an origin that did not.
func unreached(answer http.ResponseWriter, _ *http.Request, err error) {
	fmt.Fprintln(os.Stderr, "go-http:", err)
	status := http.StatusBadGateway
	if late, ok := err.(interface{ Timeout() bool }); ok && late.Timeout() {
		status = http.StatusGatewayTimeout
	}
	answer.WriteHeader(status)
	fmt.Fprintf(answer, "%d %s\n", status, http.StatusText(status))
}
