// Package petitioncas is petition_cas for Go, on database/sql and lib/pq.
//
// Assign, Swap, SwapMany and Claim work in a transaction of yours, and repeat nothing. What is lost is a *FateError, after
// which the transaction is aborted, unless the call was behind a savepoint. Only Decide has a transaction of its own, and
// runs it again where that is safe. (They do not take a *sql.DB, which may repeat a statement by itself when its
// connection is lost.)
//
// A relation is a name such as "orders" or "shop.orders", as it is spelled in the catalog; a key is a value, or a
// slice, an array or a map for a key of several columns. README.md tells as what each type of value is sent; an error
// refuses the others, before anything is sent. The row that a call returns is
// decoded, as JSON, into what row points to, unless that is nil.
package petitioncas

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// A Transition leads from one state to another; what is empty is not given. Petitions take no Changes and no StateColumn,
// many rows no SeenHash.
type Transition struct {
	From, To    string
	Changes     map[string]any
	Reason      string
	SeenHash    string
	RequestID   string
	StateColumn string
}

// An Outcome is what became of one key of many.
type Outcome struct {
	Key          string
	Outcome      string
	CurrentState sql.NullString
}

// A Roster is a set of keys, as text, with its hash; one that Claim returns is locked.
type Roster struct {
	IDs  []string
	Hash string
}

// Assign assigns a petition's fate.
func Assign(ctx context.Context, tx *sql.Tx, row any, submissionID string, t Transition) error {
	return one(ctx, tx, row, "SELECT to_jsonb(r) FROM assign_fate($1, $2, $3, $4, $5, $6) r",
		submissionID, t.From, t.To, null(t.Reason), null(t.SeenHash), null(t.RequestID))
}

// Swap moves a row of a governed table.
func Swap(ctx context.Context, tx *sql.Tx, row any, relation string, key any, t Transition) error {
	var e refusal
	query := "SELECT to_jsonb(r) FROM compare_and_swap(null::" + e.name(relation) + ", $1::text, $2, $3, $4, $5, $6, $7, $8) r"
	text, set := e.key(key), e.changes(t)
	if e.err != nil {
		return e.err
	}
	return one(ctx, tx, row, query, text, t.From, t.To, set, null(t.Reason), null(t.SeenHash), null(t.RequestID), null(t.StateColumn))
}

// SwapMany moves many rows in one statement; it returns what became of each, in the order given.
func SwapMany[K any](ctx context.Context, tx *sql.Tx, relation string, keys []K, t Transition) ([]Outcome, error) {
	var e refusal
	var texts []*string // nil, as keys may be, is a null
	for _, key := range keys {
		texts = append(texts, e.key(key))
	}
	if keys != nil && texts == nil {
		texts = []*string{}
	}
	query := "SELECT * FROM compare_and_swap_many(null::" + e.name(relation) + ", $1::text[], $2, $3, $4, $5, $6, $7)"
	set := e.changes(t)
	if e.err != nil {
		return nil, e.err
	}
	rows, err := tx.QueryContext(ctx, query, pq.Array(texts), t.From, t.To, set, null(t.Reason), null(t.RequestID), null(t.StateColumn))
	if err != nil {
		return nil, typed(err)
	}
	defer rows.Close()
	var outcomes []Outcome
	for rows.Next() {
		var o Outcome
		if err := rows.Scan(&o.Key, &o.Outcome, &o.CurrentState); err != nil {
			return nil, err
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, typed(rows.Err())
}

// Claim locks the rows that a filter selects until the transaction ends, if they are those that were seen, or if it is
// confirmed.
func Claim(ctx context.Context, tx *sql.Tx, source, filter string, seen Roster, confirmed bool) (Roster, error) {
	var r Roster
	var e refusal
	relation := e.name(source)
	if e.err != nil {
		return r, e.err
	}
	err := tx.QueryRowContext(ctx, "SELECT resolved_ids, roster_hash FROM claim_roster($1::regclass, $2, $3::text[], $4, confirmed => $5)",
		relation, filter, pq.Array(seen.IDs), seen.Hash, confirmed).Scan(pq.Array(&r.IDs), &r.Hash)
	return r, typed(err)
}

// Decide decides a row in a transaction of its own. It runs again after class 40 and after a connection that was lost: if
// the first one had committed, the request id tells the server that it is the same decision. Request ids are recorded with
// fates alone, so To has to be a fate, or the table to have a history: else the server refuses the call (22023).
func Decide(ctx context.Context, db *sql.DB, row any, relation string, key any, t Transition) error {
	if t.RequestID == "" {
		id := make([]byte, 16)
		if _, err := rand.Read(id); err != nil {
			return err
		}
		t.RequestID = fmt.Sprintf("%x", id)
	}
	for attempt := 1; ; attempt++ {
		err := inTransaction(ctx, db, func(tx *sql.Tx) error { return Swap(ctx, tx, row, relation, key, t) })
		if err == nil || attempt == 5 || !MayRepeat(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond << attempt):
		}
	}
}

func inTransaction(ctx context.Context, db *sql.DB, work func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func one(ctx context.Context, tx *sql.Tx, row any, query string, args ...any) error {
	var text []byte
	if err := tx.QueryRowContext(ctx, query, args...).Scan(&text); err != nil {
		return typed(err)
	}
	if row == nil {
		return nil
	}
	return json.Unmarshal(text, row)
}

func null(text string) any {
	if text == "" {
		return nil
	}
	return text
}
