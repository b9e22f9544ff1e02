// Command go-download reads a body of any size, a piece at a time, and prints its length and its CRC-32.
//
//	go-download URL
package main

import (
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"

	wharf "wharf/guest"
)

func run(url string) error {
	client := http.Client{Transport: wharf.Transport{}}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the origin answered %d", response.StatusCode)
	}
	sum := crc32.NewIEEE()
	length, err := io.Copy(sum, response.Body)
	if err != nil {
		return err
	}
	fmt.Printf("%d bytes, CRC-32 %08x\n", length, sum.Sum32())
	return nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go-download URL")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "go-download:", err)
		os.Exit(1)
	}
}
