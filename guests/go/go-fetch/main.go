// Command go-fetch sends one request and prints the status, the headers by name, and the body as it comes.
//
//	go-fetch URL [METHOD [BODY]] [NAME:VALUE]...
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"

	wharf "wharf/guest"
)

func build(url string, args []string) (*http.Request, error) {
	header := http.Header{}
	var method, body string
	plain := 0
	for _, arg := range args {
		name, value, pair := strings.Cut(arg, ":")
		switch {
		case pair && plain != 1:
			header.Add(name, value)
		case plain == 0:
			method, plain = arg, 1
		default:
			body, plain = arg, 2
		}
	}
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err == nil {
		request.Header = header
	}
	return request, err
}

func run(url string, args []string) error {
	request, err := build(url, args)
	if err != nil {
		return err
	}
	client := http.Client{Transport: wharf.Transport{}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()

	fmt.Println(response.StatusCode)
	names := make([]string, 0, len(response.Header))
	for name := range response.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range response.Header[name] {
			if name != "Date" {
				fmt.Printf("%s: %s\n", strings.ToLower(name), value)
			}
		}
	}
	fmt.Println()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go-fetch URL [METHOD [BODY]] [NAME:VALUE]...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "go-fetch:", err)
		os.Exit(1)
	}
}
