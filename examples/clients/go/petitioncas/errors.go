package petitioncas

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/lib/pq"
)

// What a loser is told, for errors.Is.
var (
	ErrConcurrentModification = errors.New("concurrent modification")
	ErrAlreadyFated           = errors.New("already fated")
	ErrInvalidTransition      = errors.New("invalid transition")
	ErrNotFound               = errors.New("not found")
	ErrRosterChanged          = errors.New("roster changed")
	ErrEvidenceChanged        = errors.New("evidence changed")
)

var kinds = map[pq.ErrorCode]error{"PF001": ErrConcurrentModification, "PF002": ErrAlreadyFated, "PF003": ErrInvalidTransition,
	"PF004": ErrNotFound, "PF005": ErrRosterChanged, "PF007": ErrEvidenceChanged}

// A FateError is one of the above with the members of the DETAIL; those that were left out are nil.
type FateError struct {
	Kind          error     `json:"-"`
	Cause         *pq.Error `json:"-"`
	SubmissionID  *string   `json:"submission_id"`
	Relation      *string   `json:"relation"`
	Key           *string   `json:"key"`
	ExpectedState *string   `json:"expected_state"`
	CurrentState  *string   `json:"current_state"`
	NewState      *string   `json:"new_state"`
	Allowed       []string  `json:"allowed"`
	AssignedAt    *string   `json:"assigned_at"`
	AssignedBy    *string   `json:"assigned_by"`
	Reason        *string   `json:"reason"`
	RequestID     *string   `json:"request_id"`
	EvidenceHash  *string   `json:"evidence_hash"`
	Added         []string  `json:"added"` // of a roster, at most the first 100
	Removed       []string  `json:"removed"`
	AddedCount    int       `json:"added_count"`
	RemovedCount  int       `json:"removed_count"`
	RosterHash    string    `json:"roster_hash"`
}

func (e *FateError) Error() string        { return e.Cause.Message }
func (e *FateError) Unwrap() error        { return e.Cause }
func (e *FateError) Is(target error) bool { return target == e.Kind }

// MayRepeat tells whether a transaction that ended so may be run again: class 40, 08 or 57P, or a connection that was lost
// or refused, for which database/sql and lib/pq have the system's errors.
func MayRepeat(err error) bool {
	var server *pq.Error
	if errors.As(err, &server) {
		return mayRepeat.MatchString(string(server.Code))
	}
	var network *net.OpError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.As(err, &network)
}

var mayRepeat = regexp.MustCompile("^(40...|08...|57P..)$")

// typed returns the *FateError that an error of the server means, or that error.
func typed(err error) error {
	var server *pq.Error
	if !errors.As(err, &server) || kinds[server.Code] == nil {
		return err
	}
	fate := &FateError{Kind: kinds[server.Code], Cause: server}
	if !strings.HasPrefix(server.Detail, "{") || json.Unmarshal([]byte(server.Detail), fate) != nil {
		return err // of somebody else
	}
	return fate
}
