//go:build wasip1

package wharf

import (
	"runtime"
	"unsafe"
)

//go:wasmimport wasi_experimental_http req
//go:noescape
func req(url unsafe.Pointer, urlLength uint32, method unsafe.Pointer, methodLength uint32, headers unsafe.Pointer,
	headersLength uint32, body unsafe.Pointer, bodyLength uint32, status, handle unsafe.Pointer) uint32

//go:wasmimport wasi_experimental_http close
func closeHandle(handle uint32) uint32

//go:wasmimport wasi_experimental_http headers_get_all
//go:noescape
func headersGetAll(handle uint32, buffer unsafe.Pointer, length uint32, written unsafe.Pointer) uint32

//go:wasmimport wasi_experimental_http body_read
//go:noescape
func bodyRead(handle uint32, buffer unsafe.Pointer, length uint32, written unsafe.Pointer) uint32

// hostRequest sends a request; the status and the handle are those of the response.
func hostRequest(url, method, headers string, body []byte) (int, uint32, Code) {
	var status uint16
	var handle uint32
	code := req(
		unsafe.Pointer(unsafe.StringData(url)), uint32(len(url)),
		unsafe.Pointer(unsafe.StringData(method)), uint32(len(method)),
		unsafe.Pointer(unsafe.StringData(headers)), uint32(len(headers)),
		unsafe.Pointer(unsafe.SliceData(body)), uint32(len(body)),
		unsafe.Pointer(&status), unsafe.Pointer(&handle),
	)
	runtime.KeepAlive(url)
	runtime.KeepAlive(method)
	runtime.KeepAlive(headers)
	runtime.KeepAlive(body)
	return int(status), handle, Code(code)
}

// hostClose forgets a response. The ABI has no way for this to fail.
func hostClose(handle uint32) {
	closeHandle(handle)
}

// hostHeaders fills the buffer with all headers, or with nothing where it is too small.
func hostHeaders(handle uint32, buffer []byte) (int, Code) {
	return filled(headersGetAll, handle, buffer)
}

// hostRead fills the buffer with the next bytes of the body, none at its end.
func hostRead(handle uint32, buffer []byte) (int, Code) {
	return filled(bodyRead, handle, buffer)
}

func filled(call func(uint32, unsafe.Pointer, uint32, unsafe.Pointer) uint32, handle uint32, buffer []byte) (int, Code) {
	var written uint32
	code := call(handle, unsafe.Pointer(unsafe.SliceData(buffer)), uint32(len(buffer)), unsafe.Pointer(&written))
	runtime.KeepAlive(buffer)
	return min(int(written), len(buffer)), Code(code)
}
