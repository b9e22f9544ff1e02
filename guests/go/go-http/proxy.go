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
// descriptor 3. An origin that cannot be reached is answered with 502.
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
			// Who asks is not known: preview 1 has no address of a peer.
			request.Out.Header.Set("X-Forwarded-Host", request.In.Host)
		},
		Transport:     wharf.Transport{},
		FlushInterval: -1,
	})
}
