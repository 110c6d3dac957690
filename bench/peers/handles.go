package peers

import "github.com/lapse-go/lapse/bench/offheap"

// handles keeps the handles of sessions. Whatever they point to must be kept
// alive by the peer: the collector does not see the tables.
type handles[H any] struct {
	started []H // in the order of the starts
	n       int
	table   []H // as arranged
}

func newHandles[H any](wanted bool, sessions int) handles[H] {
	if !wanted {
		return handles[H]{}
	}
	return handles[H]{started: offheap.Make[H](sessions)}
}

func (h *handles[H]) keep(handle H) {
	if h.started != nil {
		h.started[h.n] = handle
		h.n++
	}
}

// Arrange implements [ByHandle].
func (h *handles[H]) Arrange(order []uint32) {
	h.table = offheap.Make[H](len(order))
	for i, start := range order {
		h.table[i] = h.started[start]
	}
}
