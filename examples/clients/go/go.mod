module example.org/clients

go 1.19

require github.com/lib/pq v1.10.7

// Debian's package; without it, remove this line and run: go mod tidy
replace github.com/lib/pq => /usr/share/gocode/src/github.com/lib/pq
