// Transactions of franz-go, unchanged: main HOST:PORT.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	bootstrap string
	all       = context.Background()
	admin     *kadm.Client
	unique    = 0
)

type check struct {
	sentence string
	run      func() error
}

func main() {
	bootstrap = os.Args[1]
	admin = kadm.NewClient(client())
	checks := []check{
		{"a committed transaction is read whole, an aborted one not at all", commitAndAbort},
		{"a newer producer fences the older one", fencing},
		{"transactions are listed and described", described},
		{"sessions that commit, abort, leave and come back move each record once", sessions},
	}
	for passed, one := range checks {
		started := time.Now()
		if err := one.run(); err != nil {
			fmt.Printf("FAILED %s: %v\n%d passed, 1 failed\n", one.sentence, err, passed)
			os.Exit(1)
		}
		fmt.Printf("ok     %s (%.1f s)\n", one.sentence, time.Since(started).Seconds())
	}
	fmt.Printf("%d passed, 0 failed\n", len(checks))
}

func fresh(word string) string {
	unique++
	return fmt.Sprintf("%s-%d-%d", word, os.Getpid(), unique)
}

func equal(found, expected any, what string) error {
	left, right := fmt.Sprint(found), fmt.Sprint(expected)
	if left != right {
		return fmt.Errorf("%s: found %.300s, expected %.300s", what, left, right)
	}
	return nil
}

// first returns the first fault of several.
func first(faults ...error) error {
	for _, fault := range faults {
		if fault != nil {
			return fault
		}
	}
	return nil
}

func options(more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.MetadataMinAge(100 * time.Millisecond)}, more...)
}

func client(more ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(options(more...)...)
	if err != nil {
		panic(err)
	}
	return made
}

func create(count int32) (string, error) {
	topic := fresh("franz-go")
	if _, err := admin.CreateTopic(all, count, 1, nil, topic); err != nil {
		return topic, err
	}
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		listed, err := admin.ListTopics(all, topic)
		if err == nil && listed[topic].Err == nil && len(listed[topic].Partitions) == int(count) {
			return topic, nil
		}
	}
	return topic, fmt.Errorf("topic %s does not appear", topic)
}

func numbers(topic string, from, to int) []*kgo.Record {
	var records []*kgo.Record
	for number := from; number < to; number++ {
		text := []byte(strconv.Itoa(number))
		records = append(records, &kgo.Record{Topic: topic, Key: text, Value: text})
	}
	return records
}

// transact sends records in one transaction and ends it.
func transact(producer *kgo.Client, end kgo.TransactionEndTry, records ...*kgo.Record) error {
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	if err := producer.ProduceSync(all, records...).FirstErr(); err != nil {
		return err
	}
	return producer.EndTransaction(all, end)
}

// read returns the numbers of exactly count records, sorted; one more is a fault, too.
func read(topic string, count int, isolation kgo.IsolationLevel) ([]int, error) {
	consumer := client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(isolation),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	var values []int
	for until := time.Now().Add(40 * time.Second); time.Now().Before(until); {
		limit, cancel := context.WithTimeout(all, 400*time.Millisecond)
		fetches := consumer.PollFetches(limit)
		cancel()
		fetches.EachRecord(func(record *kgo.Record) {
			value, _ := strconv.Atoi(string(record.Value))
			values = append(values, value)
		})
		if fetches.NumRecords() == 0 && len(values) >= count {
			break
		}
	}
	sort.Ints(values)
	return values, equal(len(values), count, "records read")
}

func commitAndAbort() error {
	topic, err := create(3)
	if err != nil {
		return err
	}
	producer := client(kgo.TransactionalID(fresh("id")))
	defer producer.Close()
	fault := first(
		transact(producer, kgo.TryCommit, numbers(topic, 0, 300)...),
		transact(producer, kgo.TryAbort, numbers(topic, 300, 600)...),
		transact(producer, kgo.TryCommit, numbers(topic, 600, 900)...))
	if fault != nil {
		return fault
	}
	committed, err := read(topic, 600, kgo.ReadCommitted())
	if err != nil {
		return err
	}
	for place, value := range committed {
		expected := place
		if place >= 300 {
			expected += 300
		}
		if value != expected {
			return fmt.Errorf("committed value %d at place %d, expected %d", value, place, expected)
		}
	}
	_, err = read(topic, 900, kgo.ReadUncommitted())
	return err
}

func fencing() error {
	topic, err := create(1)
	if err != nil {
		return err
	}
	id := fresh("id")
	older, newer := client(kgo.TransactionalID(id)), client(kgo.TransactionalID(id))
	defer older.Close()
	defer newer.Close()
	if err := older.BeginTransaction(); err != nil {
		return err
	}
	if err := older.ProduceSync(all, numbers(topic, 0, 1)...).FirstErr(); err != nil {
		return err
	}
	if err := transact(newer, kgo.TryCommit, numbers(topic, 1, 2)...); err != nil {
		return err
	}
	refusal := older.ProduceSync(all, numbers(topic, 2, 3)...).FirstErr()
	if refusal == nil {
		refusal = older.EndTransaction(all, kgo.TryCommit)
	}
	if !errors.Is(refusal, kerr.ProducerFenced) && !errors.Is(refusal, kerr.InvalidProducerEpoch) {
		return fmt.Errorf("the older producer was told %v", refusal)
	}
	values, err := read(topic, 1, kgo.ReadCommitted())
	return first(err, equal(values, []int{1}, "committed values"))
}

func described() error {
	topic, err := create(1)
	if err != nil {
		return err
	}
	id := fresh("id")
	producer := client(kgo.TransactionalID(id))
	defer producer.Close()
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	if err := producer.ProduceSync(all, numbers(topic, 0, 10)...).FirstErr(); err != nil {
		return err
	}
	listed, err := admin.ListTransactions(all, nil, []string{"Ongoing"})
	if err != nil {
		return err
	}
	found, err := admin.DescribeTransactions(all, id)
	if err != nil {
		return err
	}
	fault := first(
		equal(listed[id].State, "Ongoing", "state in the list"),
		equal(found[id].State, "Ongoing", "state"),
		equal(found[id].ProducerID, listed[id].ProducerID, "producer"),
		equal(found[id].Topics.Lookup(topic, 0), true, "the partition belongs to it"))
	return first(fault, producer.EndTransaction(all, kgo.TryCommit))
}

// sessions moves records with one session after the other: each aborts one transaction, commits some, and goes.
func sessions() error {
	const count = 20_000
	from, err := create(3)
	if err != nil {
		return err
	}
	to, err := create(3)
	if err != nil {
		return err
	}
	producer := client()
	defer producer.Close()
	if err := producer.ProduceSync(all, numbers(from, 0, count)...).FirstErr(); err != nil {
		return err
	}
	group, moved := fresh("group"), 0
	for turn := 0; moved < count; turn++ {
		if turn == 40 {
			return fmt.Errorf("only %d records moved by %d sessions", moved, turn)
		}
		more, err := session(group, from, to, turn)
		if err != nil {
			return err
		}
		moved += more
	}
	values, err := read(to, count, kgo.ReadCommitted())
	if err != nil {
		return err
	}
	for place, value := range values {
		if value != place {
			return fmt.Errorf("value %d at place %d: not each once", value, place)
		}
	}
	return nil
}

// session returns how many records it moved for good.
func session(group, from, to string, turn int) (int, error) {
	member, err := kgo.NewGroupTransactSession(options(
		kgo.TransactionalID(fresh("id")), kgo.ConsumerGroup(group), kgo.ConsumeTopics(from), kgo.RequireStableFetchOffsets(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxPartitionBytes(10_000), kgo.FetchMaxBytes(20_000),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return 0, err
	}
	defer member.Close()
	moved := 0
	for round := 0; round < 8; round++ {
		limit, cancel := context.WithTimeout(all, 3*time.Second)
		fetches := member.PollRecords(limit, 1000)
		cancel()
		if fetches.NumRecords() == 0 {
			return moved, nil
		}
		if err := member.Begin(); err != nil {
			return moved, err
		}
		var faults kgo.FirstErrPromise
		fetches.EachRecord(func(record *kgo.Record) {
			copied := &kgo.Record{Topic: to, Key: record.Key, Value: record.Value}
			member.Produce(all, copied, faults.Promise())
		})
		end := kgo.TransactionEndTry(round != turn%8)
		if faults.Err() != nil {
			return moved, faults.Err()
		}
		committed, err := member.End(all, end)
		if err != nil {
			return moved, err
		}
		if committed {
			moved += fetches.NumRecords()
		}
	}
	return moved, nil
}
