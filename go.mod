module github.com/lapse-go/lapse

go 1.26

require (
	github.com/benbjohnson/clock v1.3.5
	github.com/google/btree v1.1.3
	pgregory.net/rapid v1.3.0
)
