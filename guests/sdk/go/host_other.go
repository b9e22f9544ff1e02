//go:build !wasip1

package wharf

// A host to test with: elsewhere than on WebAssembly there is none, and every request fails.
type host interface {
	request(url, method, headers string, body []byte) (int, uint32, Code)
	close(handle uint32)
	headers(handle uint32, buffer []byte) (int, Code)
	read(handle uint32, buffer []byte) (int, Code)
}

var mock host

func hostRequest(url, method, headers string, body []byte) (int, uint32, Code) {
	if mock == nil {
		return 0, 0, HostFailed
	}
	return mock.request(url, method, headers, body)
}

func hostClose(handle uint32) {
	mock.close(handle)
}

func hostHeaders(handle uint32, buffer []byte) (int, Code) {
	return mock.headers(handle, buffer)
}

func hostRead(handle uint32, buffer []byte) (int, Code) {
	return mock.read(handle, buffer)
}
