package lapsehttp

import (
	"encoding/hex"
	"fmt"
	"log/slog"
)

// An ID is a session id: 128 random bits. It is the key of a session in the
// engine and what the session's cookie holds. Nothing in it points anywhere, so
// ten million ids cost the garbage collector nothing. Whoever has a live id has
// the session: keep it out of logs.
type ID [16]byte

const idDigits = 2 * len(ID{})

// String returns the id as 32 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// LogValue keeps ids out of what log/slog writes.
func (id ID) LogValue() slog.Value { return slog.StringValue("(session id)") }

// ParseID reads an id as String writes it: 32 lower-case hex digits and nothing
// else. Its errors do not repeat what they were given.
func ParseID(s string) (ID, error) {
	if len(s) != idDigits {
		return ID{}, fmt.Errorf("lapsehttp: a session id is %d hex digits, not %d bytes", idDigits, len(s))
	}
	id, ok := parseID(s)
	if !ok {
		return ID{}, fmt.Errorf("lapsehttp: a session id is %d lower-case hex digits; another character is among them", idDigits)
	}
	return id, nil
}

// parseID looks at all digits of what has the right length, wherever the first
// bad one is. It does not allocate.
func parseID(s string) (id ID, ok bool) {
	if len(s) != idDigits {
		return ID{}, false
	}
	var bad byte
	for i := range id {
		high, low := digits[s[2*i]], digits[s[2*i+1]]
		bad |= high | low
		id[i] = high<<4 | low&0xf
	}
	if bad&noDigit != 0 {
		return ID{}, false
	}
	return id, true
}

const noDigit = 0x80

// digits holds the value of each hex digit that ParseID takes.
var digits = func() (table [256]byte) {
	for i := range table {
		table[i] = noDigit
	}
	for i, c := range []byte("0123456789abcdef") {
		table[c] = byte(i)
	}
	return table
}()
