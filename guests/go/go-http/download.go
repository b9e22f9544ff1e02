package main

import (
	"fmt"
	"hash/crc32"
	"io"
	"net/http"

	wharf "wharf/guest"
)

// download reads a body of any size, a piece at a time, and prints its length and its CRC-32.
func download(args []string) error {
	client := http.Client{Transport: wharf.Transport{}}
	response, err := client.Get(args[0])
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
