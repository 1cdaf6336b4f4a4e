package main

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"strings"
	"time"

	"github.com/lib/pq"

	cas "example.org/clients/petitioncas"
)

const odd = `50% "odd"?.`

type colour string

type amount struct{ cents int }

func (a amount) Value() (driver.Value, error) {
	return fmt.Sprintf("%d.%02d", a.cents/100, a.cents%100), nil
}

var (
	bytes    = []byte("\x00ab\xff")
	name     = `O'Brien "?%s\ ü`
	winter   = time.Date(2026, 3, 1, 9, 30, 0, 250e6, time.FixedZone("", 3600))
	hold     = cas.Transition{From: "open", To: "held"}
	reopen   = cas.Transition{From: "held", To: "open"}
	win      = cas.Transition{From: "open", To: "won"}
	noString *string
)

// try makes calls, each in a transaction of its own, and returns what the modules and the server say.
func try(db *sql.DB, calls ...func(tx *sql.Tx) error) string {
	var told []string
	for _, call := range calls {
		err := do(db, call)
		var fate *cas.FateError
		var server *pq.Error
		text := "ok"
		if err != nil {
			text = err.Error()
		}
		if errors.As(err, &fate) {
			text = fate.Kind.Error()
		} else if errors.As(err, &server) {
			text = string(server.Code)
		}
		if len(told) == 0 || told[len(told)-1] != text {
			told = append(told, text)
		}
	}
	return strings.Join(told, " ")
}

func swap(table string, key any, t cas.Transition, changes map[string]any) func(tx *sql.Tx) error {
	t.Changes = changes
	return func(tx *sql.Tx) error { return cas.Swap(ctx, tx, nil, table, key, t) }
}

func swapMany(table string, key any, t cas.Transition, text *string) func(tx *sql.Tx) error {
	return func(tx *sql.Tx) error {
		outcomes, err := cas.SwapMany(ctx, tx, table, []any{key}, t)
		if err == nil && text != nil {
			*text = outcomes[0].Key
		}
		return err
	}
}

// values shows what becomes of keys and values of each type, after ../values.sql.
func values(db *sql.DB) {
	stored := func(kind string) string {
		var value sql.NullString
		var document string
		must(db.QueryRow("SELECT * FROM stored($1)", kind).Scan(&value, &document))
		return value.String + " " + document
	}
	big := new(big.Int).Add(new(big.Int).Exp(big.NewInt(2), big.NewInt(53), nil), big.NewInt(1))
	for _, one := range []struct {
		kind  string
		value any
	}{
		{"text", name}, {"text", &name}, {"text", colour("red")}, {"text", sql.NullString{String: "red", Valid: true}},
		{"bigint", int64(1<<53 + 1)}, {"bigint", uint64(1<<53 + 1)}, {"bigint", big}, {"bigint", json.Number("9007199254740993")},
		{"numeric", amount{10}}, {"boolean", true}, {"double precision", 0.1}, {"double precision", float32(0.1)}, {"bytea", bytes},
		{"bytea", [4]byte{0, 'a', 'b', 255}}, {"date", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}, {"timestamp", winter},
		{"timestamptz", winter}, {"timestamptz", &winter}, {"interval", -1500 * time.Millisecond}, {"text", netip.MustParseAddr("::1")},
	} {
		var key, part string
		table, parts, changes := odd+one.kind, odd+one.kind+" part", map[string]any{"value": one.value, "document": []any{one.value}}
		told := try(db, swap(table, one.value, hold, changes), swapMany(table, one.value, reopen, &key), swap(parts, []any{1, one.value}, hold, nil),
			swapMany(parts, map[string]any{"id": one.value, "n": 1}, reopen, &part))
		fmt.Printf("%T: %s, key %s, part %s, value %s\n", one.value, told, key, part, stored(one.kind))
	}
	document := map[string]any{"n": noString, "nan": math.NaN(), "more": json.RawMessage(`{"a": ["b", 1, true]}`)}
	fmt.Println("nil in Changes:", try(db, swap(odd+"text", "red", hold, map[string]any{"value": nil, "document": document}),
		swap(odd+"text", "red", reopen, nil)), stored("text"))
	for _, null := range []any{nil, noString, (*time.Time)(nil), sql.NullString{}} {
		fmt.Printf("%T as key: %s, as one of keys: %s, as part: %s\n", null, try(db, swap(odd+"text", null, win, nil)),
			try(db, swapMany(odd+"text", null, win, nil)), try(db, swap(odd+"text part", []any{1, null}, win, nil)))
	}
	fmt.Println("nil as keys:", try(db, func(tx *sql.Tx) error {
		_, err := cas.SwapMany[string](ctx, tx, odd+"text", nil, win)
		return err
	}))
	keys := func(value any) []func(tx *sql.Tx) error {
		return []func(tx *sql.Tx) error{swap(odd+"text", value, win, nil), swap(odd+"text part", []any{1, value}, win, nil),
			swap(odd+"text part", map[string]any{"n": 1, "id": value}, win, nil), swapMany(odd+"text", value, win, nil)}
	}
	for _, value := range []any{struct{ A int }{1}, *big, time.March, func() {}, 1i, "\xff"} {
		fmt.Printf("%T: %s\n", value, try(db, append(keys(value), swap(odd+"text", "red", hold, map[string]any{"document": []any{value}}))...))
	}
	for _, value := range []any{float64(1 << 53), float32(1 << 53), math.NaN()} {
		fmt.Printf("%T: %s\n", value, try(db, keys(value)...))
	}
	fmt.Println("part:", try(db, swap(odd+"text part", []any{1, []int{2}}, win, nil)))
	fmt.Println("member:", try(db, swap(odd+"text", "red", hold, map[string]any{"document": map[int]int{1: 2}})))
	for _, name := range []string{"", ".a", "a\x00b", strings.Repeat("a", 64)} {
		fmt.Println("relation:", try(db, swap(name, 1, win, nil), swapMany(name, 1, win, nil), func(tx *sql.Tx) error {
			_, err := cas.Claim(ctx, tx, name, "", cas.Roster{}, false)
			return err
		}))
	}
	var seen cas.Roster
	must(db.QueryRow("SELECT * FROM resolve_roster($1::regclass, 'state:open')", `"50% ""odd""?"."Orders"`).Scan(pq.Array(&seen.IDs), &seen.Hash))
	for _, source := range []string{odd + "Orders", odd + "orders"} {
		var claimed cas.Roster
		fmt.Println("claim:", try(db, func(tx *sql.Tx) (err error) {
			claimed, err = cas.Claim(ctx, tx, source, "state:open", seen, false)
			return err
		}), claimed.IDs)
	}
	for _, id := range []string{"no JSON", `["a"]`, "null", ""} {
		fmt.Printf("PF001 with DETAIL %s: %s\n", id, try(db, swap("strange", id, win, nil)))
	}

	// A connection that is lost when it has been made, and before it is used.
	db.SetMaxOpenConns(1)
	var process int
	must(db.QueryRow("SELECT pg_backend_pid()").Scan(&process))
	other, err := sql.Open("postgres", "")
	must(err)
	defer other.Close()
	_, err = other.Exec("SELECT pg_terminate_backend($1, 10000)", process)
	must(err)
	var r row
	must(cas.Decide(ctx, db, &r, "late", 1, win))
	fmt.Println("lost:", r.State)
}
