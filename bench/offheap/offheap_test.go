package offheap

import (
	"runtime"
	"testing"
)

func TestMake(t *testing.T) {
	table := Make[[16]byte](1000)
	if len(table) != 1000 {
		t.Fatalf("a table of %d elements, want 1000", len(table))
	}
	for i := range table {
		if table[i] != [16]byte{} {
			t.Fatalf("element %d is %v, want zero", i, table[i])
		}
		table[i][0] = byte(i)
	}
	runtime.GC()
	for i := range table {
		if table[i][0] != byte(i) {
			t.Fatalf("element %d is %d, want %d", i, table[i][0], byte(i))
		}
	}
	if none := Make[uint64](0); len(none) != 0 {
		t.Errorf("a table of no elements has %d", len(none))
	}
	if empty := Make[struct{}](3); len(empty) != 3 {
		t.Errorf("a table of 3 empty elements has %d", len(empty))
	}
}
