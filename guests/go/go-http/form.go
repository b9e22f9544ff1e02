package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	wharf "wharf/guest"
)

// The longest answer that is printed, in bytes.
const longest = 1 << 20

// form posts a form and prints the status and what the origin answers.
func form(args []string) error {
	fields := url.Values{}
	for _, field := range args[1:] {
		name, value, _ := strings.Cut(field, "=")
		fields.Add(name, value)
	}
	client := http.Client{Transport: wharf.Transport{}}
	response, err := client.PostForm(args[0], fields)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(http.MaxBytesReader(nil, response.Body, longest))
	if err != nil {
		return err
	}
	fmt.Printf("%d\n%s\n", response.StatusCode, text)
	return nil
}
