module github.com/lapse-go/lapse/examples/websocket

go 1.26

require (
	github.com/benbjohnson/clock v1.3.5
	github.com/coder/websocket v1.8.15
	github.com/lapse-go/lapse v0.0.0
)

require github.com/google/btree v1.1.3 // indirect

replace github.com/lapse-go/lapse => ../..
