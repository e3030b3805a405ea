// franz-go, unchanged: main HOST:PORT. With "member TOPIC GROUP" behind it, a member of a group that lives until it is
// killed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 3

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
	if len(os.Args) == 5 && os.Args[2] == "member" {
		join(os.Args[4], os.Args[3], kgo.Balancers(kgo.RangeBalancer()))
		select {}
	}
	if len(os.Args) == 5 && os.Args[2] == "new-member" {
		join(os.Args[4], os.Args[3], byBroker...)
		select {}
	}
	admin = kadm.NewClient(client())
	checks := []check{{"a created topic is described with its partitions", createdTopicIsDescribed}}
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	}
	for _, one := range codecs {
		sentence := "three thousand records with " + one.name + " come back as they were sent"
		checks = append(checks, check{sentence, func() error { return recordsComeBack(one.codec) }})
	}
	checks = append(checks,
		check{"an idempotent producer writes everything once and in order", orderIsKept},
		check{"a too large record is refused", tooLargeIsRefused},
		check{"offsets are found by end and by time", offsetsAreFound},
		check{"a group goes on where it committed", func() error { return groupGoesOn() }},
		check{"members share, join and leave a group with range", func() error { return rebalance(kgo.Balancers(kgo.RangeBalancer())) }},
		check{"members share, join and leave a group with sticky", func() error { return rebalance(kgo.Balancers(kgo.StickyBalancer())) }},
		check{"members share, join and leave a group with cooperative-sticky",
			func() error { return rebalance(kgo.Balancers(kgo.CooperativeStickyBalancer())) }},
		check{"a killed member loses its partitions",
			func() error { return killedMember("member", kgo.Balancers(kgo.RangeBalancer())) }},
		check{"a group that the broker assigns goes on where it committed", func() error { return groupGoesOn(byBroker...) }},
		check{"members share, join and leave a group that the broker assigns", func() error { return rebalance(byBroker...) }},
		check{"a killed member of a group that the broker assigns loses its partitions",
			func() error { return killedMember("new-member", byBroker...) }},
		check{"groups are listed, described and deleted", groupsAreDescribed},
		check{"records before an offset can be deleted", recordsAreDeleted},
		check{"partitions and settings can be changed", changeTopic},
		check{"bad topics are refused and a deleted one is gone", badTopics},
	)
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

func refused(err, expected error) error {
	if !errors.Is(err, expected) {
		return fmt.Errorf("found %v, expected %v", err, expected)
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

func eventually(what string, question func() bool) error {
	for until := time.Now().Add(40 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if question() {
			return nil
		}
	}
	return fmt.Errorf("not within 40 s: %s", what)
}

func client(more ...kgo.Opt) *kgo.Client {
	options := append([]kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.MetadataMinAge(100 * time.Millisecond)}, more...)
	made, err := kgo.NewClient(options...)
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
	return topic, eventually(topic+" is known", func() bool {
		listed, err := admin.ListTopics(all, topic)
		return err == nil && listed[topic].Err == nil && len(listed[topic].Partitions) == int(count)
	})
}

// produce sends all at once and waits for the answers; offsets come back in the records.
func produce(records []*kgo.Record, more ...kgo.Opt) error {
	producer := client(append(more, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	defer producer.Close()
	return producer.ProduceSync(all, records...).FirstErr()
}

func numbers(topic string, count int32, from, to int) []*kgo.Record {
	var records []*kgo.Record
	for number := from; number < to; number++ {
		value := []byte(strconv.Itoa(number))
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(number) % count, Value: value})
	}
	return records
}

// read polls exactly count records; one more is a fault, too.
func read(consumer *kgo.Client, count int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	poll := func(wait time.Duration) error {
		limit, cancel := context.WithTimeout(all, wait)
		defer cancel()
		fetches := consumer.PollFetches(limit)
		for _, fault := range fetches.Errors() {
			if !errors.Is(fault.Err, context.DeadlineExceeded) {
				return fault.Err
			}
		}
		records = append(records, fetches.Records()...)
		return nil
	}
	for until := time.Now().Add(40 * time.Second); len(records) < count && time.Now().Before(until); {
		if err := poll(200 * time.Millisecond); err != nil {
			return nil, err
		}
	}
	if err := poll(300 * time.Millisecond); err != nil {
		return nil, err
	}
	return records, equal(len(records), count, "records read")
}

func readTopic(topic string, count int) ([]*kgo.Record, error) {
	consumer := client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	return read(consumer, count)
}

func createdTopicIsDescribed() error {
	topic, err := create(partitions)
	if err != nil {
		return err
	}
	listed, err := admin.ListTopics(all, topic)
	if err != nil {
		return err
	}
	cluster, err := admin.BrokerMetadata(all)
	if err != nil {
		return err
	}
	for _, partition := range listed[topic].Partitions.Sorted() {
		fault := first(equal(partition.Leader, cluster.Controller, "leader"), equal(len(partition.ISR), 1, "in-sync replicas"))
		if fault != nil {
			return fault
		}
	}
	return equal(len(listed[topic].Partitions), partitions, "partitions")
}

func recordsComeBack(codec kgo.CompressionCodec) error {
	topic, err := create(partitions)
	if err != nil {
		return err
	}
	base := time.UnixMilli(1_700_000_000_000)
	sent := numbers(topic, partitions, 0, 3000)
	for number, record := range sent {
		record.Key = []byte(fmt.Sprintf("key %d", number))
		record.Value = []byte(strings.Repeat(fmt.Sprintf("value %d ", number), 20))
		record.Timestamp = base.Add(time.Duration(number) * time.Millisecond)
		record.Headers = []kgo.RecordHeader{{Key: "n", Value: []byte(strconv.Itoa(number))}, {Key: "empty"}}
	}
	if err := produce(sent, kgo.ProducerBatchCompression(codec)); err != nil {
		return err
	}
	found, err := readTopic(topic, len(sent))
	if err != nil {
		return err
	}
	next, places := map[int32]int64{}, map[string]*kgo.Record{}
	for _, record := range found {
		if err := equal(record.Offset, next[record.Partition], "offset in the order of its partition"); err != nil {
			return err
		}
		next[record.Partition]++
		places[fmt.Sprint(record.Partition, record.Offset)] = record
	}
	for number, record := range sent {
		same := places[fmt.Sprint(record.Partition, record.Offset)]
		fault := first(
			equal(record.Offset, number/partitions, "acknowledged offset"),
			equal(string(same.Key), string(record.Key), "key"),
			equal(string(same.Value), string(record.Value), "value"),
			equal(same.Timestamp.UnixMilli(), record.Timestamp.UnixMilli(), "timestamp"),
			equal(same.Headers, record.Headers, "headers"))
		if fault != nil {
			return fault
		}
	}
	return nil
}

func orderIsKept() error {
	topic, err := create(1)
	if err != nil {
		return err
	}
	sent := numbers(topic, 1, 0, 20_000)
	if err := produce(sent, kgo.ProducerBatchMaxBytes(2000)); err != nil {
		return err
	}
	found, err := readTopic(topic, len(sent))
	for number, record := range found {
		if string(record.Value) != strconv.Itoa(number) || record.Offset != int64(number) {
			return fmt.Errorf("offset %d holds %s, expected %d", record.Offset, record.Value, number)
		}
	}
	return err
}

func tooLargeIsRefused() error {
	topic, err := create(1)
	if err != nil {
		return err
	}
	record := &kgo.Record{Topic: topic, Value: make([]byte, 1_500_000)}
	options := []kgo.Opt{kgo.ProducerBatchMaxBytes(3_000_000), kgo.ProducerBatchCompression(kgo.NoCompression())}
	return refused(produce([]*kgo.Record{record}, options...), kerr.MessageTooLarge)
}

func offsetsAreFound() error {
	topic, err := create(1)
	if err != nil {
		return err
	}
	base := int64(1_700_000_000_000)
	sent := numbers(topic, 1, 0, 100)
	for number, record := range sent {
		record.Timestamp = time.UnixMilli(base + 10*int64(number))
	}
	if err := produce(sent); err != nil {
		return err
	}
	at := func(list func() (kadm.ListedOffsets, error)) int64 {
		listed, err := list()
		if err != nil {
			return -99
		}
		found, _ := listed.Lookup(topic, 0)
		return found.Offset
	}
	return first(
		equal(at(func() (kadm.ListedOffsets, error) { return admin.ListStartOffsets(all, topic) }), 0, "first offset"),
		equal(at(func() (kadm.ListedOffsets, error) { return admin.ListEndOffsets(all, topic) }), 100, "next offset"),
		equal(at(func() (kadm.ListedOffsets, error) { return admin.ListCommittedOffsets(all, topic) }), 100, "stable end"),
		equal(at(func() (kadm.ListedOffsets, error) { return admin.ListOffsetsAfterMilli(all, base+495, topic) }), 50, "by time"))
}

// member is a consumer of a group on a goroutine of its own, and what it holds.
type member struct {
	lock     sync.Mutex
	consumer *kgo.Client
	held     map[int32]bool
	values   []string
}

// byBroker lets the broker assign (KIP-848).
var byBroker = []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())}

func join(group, topic string, more ...kgo.Opt) *member {
	one := &member{held: map[int32]bool{}}
	gain := func(_ context.Context, _ *kgo.Client, gained map[string][]int32) {
		one.lock.Lock()
		defer one.lock.Unlock()
		for _, partition := range gained[topic] {
			one.held[partition] = true
		}
	}
	lose := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
		one.lock.Lock()
		defer one.lock.Unlock()
		for _, partition := range lost[topic] {
			delete(one.held, partition)
		}
	}
	one.consumer = client(append([]kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.OnPartitionsAssigned(gain), kgo.OnPartitionsRevoked(lose),
		kgo.OnPartitionsLost(lose)}, more...)...)
	go func() {
		for {
			fetches := one.consumer.PollFetches(all)
			if fetches.IsClientClosed() {
				return
			}
			one.lock.Lock()
			for _, record := range fetches.Records() {
				one.values = append(one.values, string(record.Value))
			}
			one.lock.Unlock()
		}
	}()
	return one
}

func (one *member) count() int {
	one.lock.Lock()
	defer one.lock.Unlock()
	return len(one.held)
}

func balanced(members []*member, shares ...int) error {
	return eventually(fmt.Sprint("shares ", shares), func() bool {
		var counts []int
		for _, one := range members {
			counts = append(counts, one.count())
		}
		sort.Ints(counts)
		return fmt.Sprint(counts) == fmt.Sprint(shares)
	})
}

func rebalance(more ...kgo.Opt) error {
	topic, err := create(6)
	if err != nil {
		return err
	}
	group := fresh("group")
	var members []*member
	for _, shares := range [][]int{{6}, {3, 3}, {2, 2, 2}} {
		members = append(members, join(group, topic, more...))
		if err := balanced(members, shares...); err != nil {
			return err
		}
	}
	if err := produce(numbers(topic, 6, 0, 600)); err != nil {
		return err
	}
	values := func() []string {
		var found []string
		for _, one := range members {
			one.lock.Lock()
			found = append(found, one.values...)
			one.lock.Unlock()
		}
		return found
	}
	if err := eventually("all records", func() bool { return len(values()) >= 600 }); err != nil {
		return err
	}
	different := map[string]bool{}
	for _, value := range values() {
		different[value] = true
	}
	if err := first(equal(len(values()), 600, "records"), equal(len(different), 600, "different records")); err != nil {
		return err
	}
	members[1].consumer.Close()
	if err := balanced([]*member{members[0], members[2]}, 3, 3); err != nil {
		return err
	}
	members[0].consumer.Close()
	if err := balanced([]*member{members[2]}, 6); err != nil {
		return err
	}
	members[2].consumer.Close()
	return nil
}

func groupGoesOn(more ...kgo.Opt) error {
	topic, err := create(partitions)
	if err != nil {
		return err
	}
	group := fresh("group")
	for _, part := range [][2]int{{0, 300}, {300, 330}} {
		if err := produce(numbers(topic, partitions, part[0], part[1])); err != nil {
			return err
		}
		consumer := client(append([]kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, more...)...)
		found, err := read(consumer, part[1]-part[0])
		if err == nil {
			err = consumer.CommitRecords(all, found...)
		}
		consumer.Close()
		if err != nil {
			return err
		}
	}
	committed, err := admin.FetchOffsets(all, group)
	if err != nil {
		return err
	}
	last, _ := committed.Lookup(topic, 2)
	return equal(last.At, 110, "committed offset")
}

func killedMember(role string, more ...kgo.Opt) error {
	topic, err := create(4)
	if err != nil {
		return err
	}
	group := fresh("group")
	one := join(group, topic, more...)
	defer one.consumer.Close()
	if err := balanced([]*member{one}, 4); err != nil {
		return err
	}
	other := exec.Command(os.Args[0], bootstrap, role, topic, group)
	if err := other.Start(); err != nil {
		return err
	}
	defer other.Wait()
	defer other.Process.Kill()
	if err := balanced([]*member{one}, 2); err != nil {
		return err
	}
	if err := other.Process.Kill(); err != nil {
		return err
	}
	return balanced([]*member{one}, 4)
}

func groupsAreDescribed() error {
	topic, err := create(1)
	if err != nil {
		return err
	}
	group := fresh("group")
	one := join(group, topic, kgo.Balancers(kgo.RangeBalancer()))
	if err := balanced([]*member{one}, 1); err != nil {
		return err
	}
	listed, err := admin.ListGroups(all)
	if err != nil {
		return err
	}
	described, err := admin.DescribeGroups(all, group)
	if err != nil {
		return err
	}
	_, refusal := admin.DeleteGroup(all, group)
	fault := first(
		equal(listed[group].ProtocolType, "consumer", "type in the list"),
		equal(described[group].State, "Stable", "state"),
		equal(len(described[group].Members), 1, "members"),
		refused(refusal, kerr.NonEmptyGroup))
	one.consumer.Close()
	if fault != nil {
		return fault
	}
	_, err = admin.DeleteGroup(all, group)
	return err
}

func recordsAreDeleted() error {
	topic, err := create(1)
	if err != nil {
		return err
	}
	if err := produce(numbers(topic, 1, 0, 10)); err != nil {
		return err
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 7, -1)
	deleted, err := admin.DeleteRecords(all, offsets)
	if err != nil {
		return err
	}
	low, _ := deleted.Lookup(topic, 0)
	found, err := readTopic(topic, 3)
	if err != nil {
		return err
	}
	return first(equal(low.LowWatermark, 7, "first offset"), equal(found[0].Offset, 7, "first offset that is read"))
}

func changeTopic() error {
	topic, err := create(1)
	if err != nil {
		return err
	}
	added, err := admin.UpdatePartitions(all, 4, topic)
	if err != nil {
		return err
	}
	hour := "3600000"
	changed, err := admin.AlterTopicConfigs(all, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &hour}}, topic)
	if err != nil {
		return err
	}
	if err := first(added.Error(), changed[0].Err); err != nil {
		return err
	}
	return eventually("four partitions and retention.ms", func() bool {
		listed, err := admin.ListTopics(all, topic)
		described, fault := admin.DescribeTopicConfigs(all, topic)
		if err != nil || fault != nil || len(listed[topic].Partitions) != 4 {
			return false
		}
		for _, setting := range described[0].Configs {
			if setting.Key == "retention.ms" {
				return setting.MaybeValue() == hour
			}
		}
		return false
	})
}

func badTopics() error {
	topic, err := create(1)
	if err != nil {
		return err
	}
	_, twice := admin.CreateTopic(all, 1, 1, nil, topic)
	_, invalid := admin.CreateTopic(all, 1, 1, nil, "not valid!")
	_, many := admin.CreateTopic(all, 1, 5, nil, fresh("many"))
	_, absent := admin.DeleteTopic(all, "absent")
	fault := first(
		refused(twice, kerr.TopicAlreadyExists),
		refused(invalid, kerr.InvalidTopicException),
		refused(many, kerr.InvalidReplicationFactor),
		refused(absent, kerr.UnknownTopicOrPartition))
	if fault != nil {
		return fault
	}
	if _, err := admin.DeleteTopic(all, topic); err != nil {
		return err
	}
	return eventually("the topic is gone", func() bool {
		listed, err := admin.ListTopics(all)
		return err == nil && !listed.Has(topic)
	})
}
