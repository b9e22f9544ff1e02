// Command go-http shows HTTP from a guest in Go, a file for each way:
//
//	go-http fetch URL [METHOD [BODY]] [NAME:VALUE]...
//	go-http form URL [NAME=VALUE]...
//	go-http download URL
//	go-http proxy ORIGIN
package main

import (
	"fmt"
	"os"
)

var commands = map[string]func(args []string) error{
	"fetch":    fetch,
	"form":     form,
	"download": download,
	"proxy":    proxy,
}

func main() {
	var command func([]string) error
	if len(os.Args) > 2 {
		command = commands[os.Args[1]]
	}
	if command == nil {
		fmt.Fprintln(os.Stderr, "usage: go-http fetch|form|download|proxy URL ...")
		os.Exit(2)
	}
	if err := command(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "go-http:", err)
		os.Exit(1)
	}
}
