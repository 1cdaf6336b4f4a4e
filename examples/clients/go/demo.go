// The demo: go run ., or one decision:
//
//	go run . decide RELATION KEY EXPECTED_STATE NEW_STATE REQUEST_ID
//
// or values.go: go run . values
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/lib/pq"

	cas "example.org/clients/petitioncas"
)

type row struct{ State string }

var ctx = context.Background()

func petition(n int) string {
	return fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", n)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// do runs work in a transaction.
func do(db *sql.DB, work func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	must(err)
	defer tx.Rollback()
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// show prints the state that a call led to, or what its loser was told.
func show(db *sql.DB, what string, call func(tx *sql.Tx, r *row) error) {
	var r row
	var fate *cas.FateError
	err := do(db, func(tx *sql.Tx) error { return call(tx, &r) })
	switch {
	case errors.Is(err, cas.ErrRosterChanged) && errors.As(err, &fate):
		fmt.Printf("%s: %v, added %q, removed %q\n", what, fate.Kind, fate.Added, fate.Removed)
	case errors.As(err, &fate):
		found := "nothing"
		if fate.CurrentState != nil {
			found = *fate.CurrentState
		}
		fmt.Printf("%s: %v, found %s, which leads to %q\n", what, fate.Kind, found, fate.Allowed)
	default:
		must(err)
		fmt.Printf("%s: %s\n", what, r.State)
	}
}

func resolve(db *sql.DB, filter string) (seen cas.Roster) {
	must(db.QueryRow("SELECT * FROM resolve_roster('petition_submissions', $1)", filter).Scan(pq.Array(&seen.IDs), &seen.Hash))
	return
}

func demo(db *sql.DB) {
	acknowledge := cas.Transition{From: "RECEIVED", To: "ACKNOWLEDGED"}
	show(db, "assign", func(tx *sql.Tx, r *row) error {
		return cas.Assign(ctx, tx, r, petition(1), cas.Transition{From: "RECEIVED", To: "ACKNOWLEDGED", Reason: "agreed"})
	})
	show(db, "again", func(tx *sql.Tx, r *row) error { return cas.Assign(ctx, tx, r, petition(1), acknowledge) })
	show(db, "not what it is", func(tx *sql.Tx, r *row) error {
		return cas.Assign(ctx, tx, r, petition(2), cas.Transition{From: "DELIBERATING", To: "REFERRED"})
	})
	show(db, "not there", func(tx *sql.Tx, r *row) error { return cas.Assign(ctx, tx, r, petition(9), acknowledge) })
	show(db, "no way", func(tx *sql.Tx, r *row) error {
		return cas.Swap(ctx, tx, r, "parcels", []int{7, 1}, cas.Transition{From: "packing", To: "delivered"})
	})
	var seen string
	must(db.QueryRow("SELECT evidence_hash(p) FROM payments p WHERE id = 1").Scan(&seen))
	_, err := db.Exec("UPDATE payments SET amount = 9950 WHERE id = 1")
	must(err)
	show(db, "what was seen", func(tx *sql.Tx, r *row) error {
		return cas.Swap(ctx, tx, r, "payments", 1, cas.Transition{From: "pending", To: "approved", SeenHash: seen})
	})
	must(do(db, func(tx *sql.Tx) error {
		keys := []any{[]int{7, 1}, map[string]int{"id": 2, "tenant": 7}, []int{7, 9}}
		outcomes, err := cas.SwapMany(ctx, tx, "parcels", keys, cas.Transition{From: "packing", To: "shipped"})
		for _, one := range outcomes {
			fmt.Printf("many: %s %s %q\n", one.Key, one.Outcome, one.CurrentState.String)
		}
		return err
	}))

	filter := "state:RECEIVED realm:north"
	roster := resolve(db, filter)
	must(do(db, func(tx *sql.Tx) error { return cas.Assign(ctx, tx, nil, petition(4), acknowledge) }))
	show(db, "claim", func(tx *sql.Tx, r *row) error {
		_, err := cas.Claim(ctx, tx, "petition_submissions", filter, roster, false)
		return err
	})
	roster = resolve(db, filter)
	must(do(db, func(tx *sql.Tx) error {
		claimed, err := cas.Claim(ctx, tx, "petition_submissions", filter, roster, false)
		if err != nil {
			return err
		}
		outcomes, err := cas.SwapMany(ctx, tx, "petition_submissions", claimed.IDs, acknowledge)
		assigned := 0
		for _, one := range outcomes {
			if one.Outcome == "assigned" {
				assigned++
			}
		}
		fmt.Println("claimed and decided:", assigned)
		return err
	}))
	var r row
	must(cas.Decide(ctx, db, &r, "payments", 2, cas.Transition{From: "pending", To: "approved", Reason: "due"}))
	fmt.Println("decide:", r.State)
}

func main() {
	db, err := sql.Open("postgres", "")
	must(err)
	defer db.Close()
	if len(os.Args) == 7 && os.Args[1] == "decide" {
		var r row
		err := cas.Decide(ctx, db, &r, os.Args[2], os.Args[3], cas.Transition{From: os.Args[4], To: os.Args[5], RequestID: os.Args[6]})
		var fate *cas.FateError
		if errors.As(err, &fate) {
			err = fmt.Errorf("%v: %w", fate.Kind, err)
		}
		must(err)
		fmt.Println(r.State)
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "values" {
		values(db)
		return
	}
	demo(db)
}
