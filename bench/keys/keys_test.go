package keys

import "testing"

func TestKinds(t *testing.T) {
	t.Run("id", func(t *testing.T) { testKind(t, IDs()) })
	t.Run("uint64", func(t *testing.T) { testKind(t, Uints()) })
	t.Run("raw string", func(t *testing.T) { testKind(t, RawStrings()) })
	t.Run("string", func(t *testing.T) { testKind(t, Strings()) })
}

// testKind checks that no two keys are the same, that the number of each comes
// back, and that tables hold what Make makes.
func testKind[K comparable](t *testing.T, kind *Kind[K]) {
	order := Shuffled(0, 10000)
	order = append(order, 1<<31, 1<<32-1)
	table := kind.Table(order)
	seen := make(map[K]bool)
	var shards [16]int
	for i, number := range order {
		k := kind.Make(number)
		if table[i] != k {
			t.Fatalf("the table has %v for %d, Make makes %v", table[i], number, k)
		}
		if got := kind.Number(k); got != number {
			t.Fatalf("the number of %v is %d, want %d", k, got, number)
		}
		if seen[k] {
			t.Fatalf("two numbers have the key %v", k)
		}
		seen[k] = true
		shards[kind.Shard(k)%16]++
	}
	for i, n := range shards {
		if n < len(order)/32 || n > len(order)/8 {
			t.Errorf("shard %d of 16 has %d of %d keys", i, n, len(order))
		}
	}
}

func TestShuffled(t *testing.T) {
	const first, n = 100, 1000
	seen := make([]bool, n)
	still := 0
	for i, number := range Shuffled(first, n) {
		if seen[number-first] {
			t.Fatalf("%d comes twice", number)
		}
		seen[number-first] = true
		if int(number) == first+i {
			still++
		}
	}
	if still > n/10 {
		t.Errorf("%d of %d numbers are where they were", still, n)
	}
}
