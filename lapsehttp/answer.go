package lapsehttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// Success answers a script with status 200 and {"success":v,"error":false}. If v
// cannot be JSON it returns an error and has written nothing, so that the
// caller can answer in another way; other errors are of writing.
func Success(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(struct {
		Success any  `json:"success"`
		Error   bool `json:"error"`
	}{Success: v})
	if err != nil {
		return fmt.Errorf("lapsehttp: Success: %w", err)
	}
	return answer(w, http.StatusOK, body)
}

// Failure answers a script: {"success":false,"error":code}. The status is from
// 200 to 599, and code is what the script looks at, such as "NO_SUCH_FILE"; it
// must not be empty. SESSION_TIMEOUT and NOT_LOGGED_IN tell the script to log
// in; they are for [Manager.Require]. Nothing has been written after an error
// about the arguments; other errors are of writing.
func Failure(w http.ResponseWriter, status int, code string) error {
	if status < 200 || status > 599 {
		return fmt.Errorf("lapsehttp: Failure: the status is %d: want 200 to 599", status)
	}
	if code == "" {
		return errors.New("lapsehttp: Failure: the code is empty: a script looks at it")
	}
	body, err := json.Marshal(struct {
		Success bool   `json:"success"`
		Error   string `json:"error"`
	}{Error: code})
	if err != nil {
		return fmt.Errorf("lapsehttp: Failure: %w", err)
	}
	return answer(w, status, body)
}

func answer(w http.ResponseWriter, status int, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}
