// Command go-form posts a form and prints the status and what the origin answers.
//
//	go-form URL [NAME=VALUE]...
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	wharf "wharf/guest"
)

// The longest answer that is printed, in bytes.
const longest = 1 << 20

func run(target string, fields []string) error {
	form := url.Values{}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		form.Add(name, value)
	}
	client := http.Client{Transport: wharf.Transport{}}
	response, err := client.PostForm(target, form)
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

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go-form URL [NAME=VALUE]...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "go-form:", err)
		os.Exit(1)
	}
}
