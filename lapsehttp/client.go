package lapsehttp

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"
)

var (
	//go:embed client/client.min.js
	clientJS []byte
	//go:embed client/dialog.min.js
	dialogJS []byte
)

// A module is a file of the browser client.
type module struct {
	plain   []byte
	etag    string
	zipped  func() []byte // made when it is asked for first
	zipETag string
}

// modules are the files of the browser client by name.
var modules = map[string]*module{
	"client.js": newModule(clientJS),
	"dialog.js": newModule(dialogJS),
}

func newModule(plain []byte) *module {
	sum := sha256.Sum256(plain)
	tag := hex.EncodeToString(sum[:12])
	return &module{plain, `"` + tag + `"`, sync.OnceValue(func() []byte { return zip(plain) }), `"` + tag + `-gzip"`}
}

func zip(plain []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	w.Write(plain) // neither fails on a Buffer
	w.Close()
	return b.Bytes()
}

// ServeHTTP serves the file. A browser keeps it and asks each time whether it
// is still the same, so that a new version of the server is never met by an old
// client.
func (f *module) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	body, etag := f.plain, f.etag
	if acceptsGzip(r.Header["Accept-Encoding"]) {
		body, etag = f.zipped(), f.zipETag
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// acceptsGzip reads Accept-Encoding, of which a wildcard says nothing.
func acceptsGzip(lines []string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.Trim(coding, " \t"), "gzip") {
				return weight(params) > 0
			}
		}
	}
	return false
}
