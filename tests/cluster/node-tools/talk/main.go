// Two ends of a conversation between pods: `talk serve ADDRESS WORDS` answers, `talk get URL` asks and prints.
// `get` ends with 3 where nobody answers in time.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const noAnswer = 3

func main() {
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		http.HandleFunc("/", func(to http.ResponseWriter, _ *http.Request) { fmt.Fprintln(to, os.Args[3]) })
		fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[2], nil))
		os.Exit(1)
	}
	if len(os.Args) != 3 || os.Args[1] != "get" {
		fmt.Fprintln(os.Stderr, "talk serve ADDRESS WORDS | talk get URL")
		os.Exit(2)
	}
	client := http.Client{Timeout: 3 * time.Second}
	answer, err := client.Get(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(noAnswer)
	}
	defer answer.Body.Close()
	io.Copy(os.Stdout, answer.Body)
}
