package work

// A generic library is compiled where its types are named, and the compiler
// inlines the library's own small functions there only if that package imports
// it, as a program does that uses it. Without that a touch of lapse calls a dozen
// functions of a line each. So the generic libraries are imported here, where Run
// names the types.
import (
	_ "github.com/Yiling-J/theine-go"
	_ "github.com/dgraph-io/ristretto/v2"
	_ "github.com/google/btree"
	_ "github.com/jellydator/ttlcache/v3"
	_ "github.com/lapse-go/lapse"
	_ "github.com/maypok86/otter/v2"
)
