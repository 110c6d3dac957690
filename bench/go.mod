module github.com/lapse-go/lapse/bench

go 1.26

require github.com/lapse-go/lapse v0.0.0

require (
	github.com/benbjohnson/clock v1.3.5 // indirect
	github.com/google/btree v1.1.3 // indirect
)

replace github.com/lapse-go/lapse => ../
