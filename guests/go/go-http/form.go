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
	// Not url.Values, which would sort them.
	var fields []string
	for _, field := range args[1:] {
		name, value, _ := strings.Cut(field, "=")
		fields = append(fields, url.QueryEscape(name)+"="+url.QueryEscape(value))
	}
	client := http.Client{Transport: wharf.Transport{}}
	body := strings.NewReader(strings.Join(fields, "&"))
	response, err := client.Post(args[0], "application/x-www-form-urlencoded", body)
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
