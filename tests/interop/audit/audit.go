// audit checks an access log of Meterkeep with Go's own packages for such logs, and no line of
// Meterkeep's: golang.org/x/mod/sumdb/note and golang.org/x/mod/sumdb/tlog.
//
//	audit proof VKEY FILE              one entry, by its .tlog-proof file; prints the entry
//	audit tiles VKEY DIR [CHECKPOINT]  every entry and tile of one year's log in a folder; with an
//	                                   older checkpoint: that the log goes on from it
//
// Exit status 0: it holds. 1: it does not; stderr says why.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8 // rows of a tile
	width  = 1 << height
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return errors.New("audit proof VKEY FILE | audit tiles VKEY DIR [CHECKPOINT]")
	}
	key, err := note.NewVerifier(args[1])
	if err != nil {
		return err
	}
	switch {
	case args[0] == "proof" && len(args) == 3:
		return proof(key, args[2])
	case args[0] == "tiles" && len(args) == 3:
		return tiles(key, args[2], "")
	case args[0] == "tiles" && len(args) == 4:
		return tiles(key, args[2], args[3])
	}
	return errors.New("unknown command")
}

// checkpoint opens a signed note and reads its three lines: origin, size, root.
func checkpoint(key note.Verifier, data []byte) (tlog.Tree, error) {
	opened, err := note.Open(data, note.VerifierList(key))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.SplitN(opened.Text, "\n", 4)
	if len(lines) != 4 || lines[0] != key.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return tlog.Tree{}, errors.New("the checkpoint has no size")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// proof checks a c2sp.org/tlog-proof@v1 file whose extra data is the entry itself.
func proof(key note.Verifier, name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, signed, ok := strings.Cut(string(data), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a proof file")
	}
	if !strings.HasPrefix(lines[1], "extra ") || !strings.HasPrefix(lines[2], "index ") {
		return errors.New("the proof file does not hold its entry")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		path = append(path, hash)
	}
	tree, err := checkpoint(key, []byte(signed))
	if err != nil {
		return err
	}
	if len(entry) == 0 {
		return errors.New("the entry is empty")
	}
	if err := tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	fmt.Printf("entry %d of %d: %s\n", index, tree.N, entry[1:])
	return nil
}

// folder reads tiles by their C2SP names; tlog checks each against the tree's root.
type folder string

func (folder) Height() int                     { return height }
func (folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folder) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		data, err := os.ReadFile(f.path(tile))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

// path is the name that c2sp.org/tlog-tiles gives: without the height, entries by their own word.
func (f folder) path(tile tlog.Tile) string {
	name := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
	return filepath.Join(string(f), strings.Replace(name, "tile/data/", "tile/entries/", 1))
}

func tiles(key note.Verifier, dir, older string) error {
	data, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := checkpoint(key, data)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, folder(dir))
	for first := int64(0); first < tree.N; first += width {
		if err := bundle(folder(dir), tree, hashes, first); err != nil {
			return err
		}
	}
	if older != "" {
		if err := consistent(key, tree, hashes, older); err != nil {
			return err
		}
	}
	fmt.Printf("%d entries, root %v\n", tree.N, tree.Hash)
	return nil
}

// bundle checks the entries of one bundle against hashes that stand under the root.
func bundle(dir folder, tree tlog.Tree, hashes tlog.HashReader, first int64) error {
	count := tree.N - first
	if count > width {
		count = width
	}
	rest, err := os.ReadFile(dir.path(tlog.Tile{H: height, L: -1, N: first / width, W: int(count)}))
	if err != nil {
		return err
	}
	var indexes []int64
	for at := first; at < first+count; at++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, at))
	}
	known, err := hashes.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for at, hash := range known {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return fmt.Errorf("bundle of entry %d is cut", first)
		}
		size := int(binary.BigEndian.Uint16(rest))
		made := tlog.RecordHash(rest[2 : 2+size])
		if !bytes.Equal(made[:], hash[:]) {
			return fmt.Errorf("entry %d is not what the tree holds", first+int64(at))
		}
		rest = rest[2+size:]
	}
	if len(rest) != 0 {
		return fmt.Errorf("bundle of entry %d holds too much", first)
	}
	return nil
}

func consistent(key note.Verifier, tree tlog.Tree, hashes tlog.HashReader, name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	older, err := checkpoint(key, data)
	if err != nil {
		return err
	}
	path, err := tlog.ProveTree(tree.N, older.N, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(path, tree.N, tree.Hash, older.N, older.Hash)
}
