// Package offheap makes tables that the garbage collector does not know. What a
// benchmark needs for itself, such as ten million keys in random order, is
// neither scanned nor counted: not for one peer, nor for another.
package offheap

import (
	"fmt"
	"unsafe"
)

// Make returns a table of n zero elements. It is never freed, and the collector
// does not follow pointers in it: what they point to is off the heap, too, or is
// kept alive by somebody else. It panics if the machine has no memory for it.
func Make[T any](n int) []T {
	var zero T
	size := unsafe.Sizeof(zero)
	if n == 0 || size == 0 {
		return make([]T, n)
	}
	memory, err := allocate(n * int(size))
	if err != nil {
		panic(fmt.Sprintf("bench: no memory for a table of %d elements of %d bytes: %v", n, size, err))
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(memory))), n)
}
