//go:build unix

package offheap

import "syscall"

// allocate maps memory of the process alone.
func allocate(bytes int) ([]byte, error) {
	return syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}
