package petitioncas

import (
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lib/pq"
)

// A refusal keeps the first error of the values that a call is made of.
type refusal struct{ err error }

func (e *refusal) refuse(format string, args ...any) string {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
	return ""
}

func (e *refusal) name(relation string) string {
	parts := strings.Split(relation, ".")
	for i, part := range parts {
		// The server would cut a longer name off, and pq.QuoteIdentifier one with a zero, which may be another table's.
		if part == "" || strings.Contains(part, "\x00") || len(part) > 63 || !utf8.ValidString(part) {
			return e.refuse("no name of a relation: %q", relation)
		}
		parts[i] = pq.QuoteIdentifier(part)
	}
	return strings.Join(parts, ".")
}

// plain returns what a value is, without pointers and as driver.Valuer or json.Number have it: nil, a time.Time, a
// time.Duration, text of a type of its own, or a value of another kind.
func (e *refusal) plain(value any) any {
	for {
		v := reflect.ValueOf(value)
		switch v.Kind() {
		case reflect.Invalid:
			return nil
		case reflect.Pointer, reflect.Slice, reflect.Map:
			if v.IsNil() {
				return nil
			}
		}
		switch special := value.(type) {
		case time.Time, time.Duration, json.Number, *big.Int:
			return value
		case driver.Valuer:
			var err error
			if value, err = special.Value(); err != nil {
				e.refuse("a value of type %T: %w", special, err)
				return nil
			}
			continue
		case encoding.TextMarshaler:
			text, err := special.MarshalText()
			if err != nil {
				e.refuse("a value of type %T: %w", special, err)
			}
			return string(text)
		}
		if v.Kind() != reflect.Pointer {
			return value
		}
		value = v.Elem().Interface()
	}
}

// text returns the text form of a plain value, which the input functions of the types that it is for read under any setting.
func (e *refusal) text(value any) string {
	switch value := value.(type) {
	case time.Time:
		layout := "2006-01-02T15:04:05.999999999Z07:00"
		if _, offset := value.Zone(); offset%60 != 0 {
			layout += ":00"
		}
		return value.Format(layout)
	case time.Duration:
		return fmt.Sprintf("%+d seconds %+d microseconds", value/time.Second, value%time.Second/time.Microsecond)
	case *big.Int:
		return value.String()
	}
	var text string
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Bool:
		text = strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		text = strconv.FormatInt(v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		text = strconv.FormatUint(v.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		text = strconv.FormatFloat(v.Float(), 'f', -1, v.Type().Bits())
		text = strings.TrimPrefix(strings.Replace(text, "Inf", "Infinity", 1), "+")
	case reflect.String:
		if text = v.String(); !utf8.ValidString(text) {
			return e.refuse("a string that is not UTF-8 is no text")
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return e.refuse("a value of type %T has no certain text form here: give it as text", value)
		}
		return fmt.Sprintf("\\x%x", value)
	default:
		return e.refuse("a value of type %T has no certain text form here: give it as text", value)
	}
	if named, ok := value.(fmt.Stringer); ok && named.String() != text {
		return e.refuse("a value of type %T has no certain text form here: give it as text", value)
	}
	return text
}

func (e *refusal) keyText(value any) *string {
	if value = e.plain(value); value == nil {
		return nil
	}
	v := reflect.ValueOf(value)
	if (v.Kind() == reflect.Float32 || v.Kind() == reflect.Float64) && !(math.Abs(v.Float()) < 1<<53) {
		e.refuse("the float %v is not exact as a key: give it as text", value)
	}
	text := e.text(value)
	return &text
}

// composed tells whether a plain value is one of several: a map, or a slice or an array, but not of bytes.
func composed(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map:
		return true
	case reflect.Slice, reflect.Array:
		return v.Type().Elem().Kind() != reflect.Uint8
	}
	return false
}

// compose writes a map, a slice or an array as JSON.
func (e *refusal) compose(v reflect.Value, write func(any) string) string {
	var parts []string
	if v.Kind() != reflect.Map {
		for i := 0; i < v.Len(); i++ {
			parts = append(parts, write(v.Index(i).Interface()))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	for _, name := range v.MapKeys() {
		if name.Kind() != reflect.String {
			return e.refuse("a value of type %v names no column or member: give a text", name.Type())
		}
		parts = append(parts, quote(e.text(name.String()))+":"+write(v.MapIndex(name).Interface()))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func quote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

func (e *refusal) key(key any) *string {
	v := reflect.ValueOf(e.plain(key))
	if !composed(v) {
		return e.keyText(key)
	}
	text := e.compose(v, func(part any) string {
		if text := e.keyText(part); text != nil {
			return quote(*text)
		}
		return "null"
	})
	return &text
}

// json returns the JSON of a value of Changes; what JSON has no type for is a string of its text form.
func (e *refusal) json(value any) string {
	if value == nil {
		return "null"
	}
	_, isTime := e.plain(value).(time.Time)
	if marshaler, ok := value.(json.Marshaler); ok && !isTime {
		text, err := json.Marshal(marshaler)
		if err != nil {
			e.refuse("a value of type %T: %w", value, err)
		}
		return string(text)
	}
	value = e.plain(value)
	v := reflect.ValueOf(value)
	switch {
	case value == nil:
		return "null"
	case composed(v):
		return e.compose(v, e.json)
	}
	_, isDuration := value.(time.Duration)
	_, isNumber := value.(*big.Int)
	isNumber = isNumber || v.Kind() == reflect.Bool || v.CanInt() && !isDuration || v.CanUint() ||
		v.CanFloat() && !math.IsNaN(v.Float()) && !math.IsInf(v.Float(), 0)
	if isNumber {
		return e.text(value)
	}
	if number, ok := value.(json.Number); ok {
		text, err := json.Marshal(number)
		if err != nil {
			e.refuse("a value of type %T: %w", value, err)
		}
		return string(text)
	}
	return quote(e.text(value))
}

func (e *refusal) changes(t Transition) any {
	if t.Changes == nil {
		return nil
	}
	return e.json(t.Changes)
}
