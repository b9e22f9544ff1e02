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

// build makes a request of the arguments behind the URL.
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

// fetch sends one request and prints the status, the headers by name, and the body as it comes.
func fetch(args []string) error {
	request, err := build(args[0], args[1:])
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
