// Receives GELF over UDP with Graylog's own library, and writes down each message as a line.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/Graylog2/go-gelf/gelf"
)

func main() {
	reader, err := gelf.NewReader(os.Args[1])
	check(err)
	file, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(err)
	for {
		message, err := reader.ReadMessage()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		var line bytes.Buffer
		check(message.MarshalJSONBuf(&line))
		line.WriteByte('\n')
		_, err = file.Write(line.Bytes())
		check(err)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
