/** KafkaJS, unchanged: client.js HOST:PORT */

const { fork } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')
const zlib = require('node:zlib')
const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { check, equal, eventually, fresh, mayBeKilled, range, refusal, run, showWhenFailing, sleep, whileKilled } = require('checking')

// What the client leaves to others, plugged in as its documentation says.
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => zlib.zstdCompressSync(encoder.buffer),
  decompress: async buffer => zlib.zstdDecompressSync(buffer),
})

const BOOTSTRAP = process.argv[2]
const PARTITIONS = 3
const BASE_TIME = 1_700_000_000_000
const retry = { initialRetryTime: 100, maxRetryTime: 500, retries: 200 }

// The last of what the client tells about itself.
const told = []
const logCreator = () => ({ namespace, log }) => {
  told.push({ namespace, ...log })
  if (told.length > 200) told.shift()
}
showWhenFailing(() => told.map(entry => JSON.stringify(entry)).join('\n'))

const kafka = new Kafka({ clientId: 'kafkajs', brokers: [BOOTSTRAP], logLevel: logLevel.DEBUG, logCreator, retry })
const admin = kafka.admin()

async function create(partitions = PARTITIONS, configs = {}) {
  const topic = fresh('kafkajs')
  const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
  equal(await admin.createTopics({ topics: [{ topic, numPartitions: partitions, configEntries }] }), true, 'created')
  // A partition whose leader does not know it yet refuses, and this client then sends to all partitions again.
  await ends(topic)
  return topic
}

async function withProducer(settings, action) {
  const producer = kafka.producer({ allowAutoTopicCreation: false, ...settings })
  await producer.connect()
  try {
    return await action(producer)
  } finally {
    await producer.disconnect()
  }
}

/** Sends the messages in one request, and returns the first offset in each partition, by partition. */
const produce = (topic, messages, compression = CompressionTypes.None) =>
  withProducer({}, async producer => baseOffsets(await producer.send({ topic, messages, compression, acks: -1 })))

const baseOffsets = answers =>
  answers.sort((a, b) => a.partition - b.partition).map(answer => Number(answer.baseOffset))

/** Messages whose values are the numbers, in turn to each partition. */
const numbered = (numbers, partitions = 1) =>
  numbers.map(number => ({ partition: number % partitions, value: String(number) }))

/** A member of a group that reads from the beginning until it leaves. */
class Member {
  static async join(topic, group, settings = {}, running = { autoCommit: false }) {
    const member = new Member()
    member.records = []
    member.held = []
    member.consumer = kafka.consumer({
      groupId: group,
      sessionTimeout: 6000,
      rebalanceTimeout: 10_000,
      heartbeatInterval: 200,
      maxWaitTimeInMs: 50,
      allowAutoTopicCreation: false,
      ...settings,
    })
    const { CRASH, GROUP_JOIN } = member.consumer.events
    member.consumer.on(GROUP_JOIN, ({ payload }) => (member.held = payload.memberAssignment[topic] ?? []))
    member.consumer.on(CRASH, ({ payload }) => (member.crash = payload.restart ? undefined : payload.error))
    await member.consumer.connect()
    await member.consumer.subscribe({ topics: [topic], fromBeginning: true })
    await member.consumer.run({
      ...running,
      eachMessage: async ({ partition, message }) => void member.records.push({ partition, ...message }),
    })
    return member
  }

  get values() {
    return this.records.map(record => Number(record.value))
  }

  /** Waits for exactly `count` records; one more is a fault, too. */
  async read(count) {
    const has = () => `${count} records; there are ${this.records.length}`
    await eventually(() => this.crash ?? this.records.length >= count, has, 60)
    if (this.crash) throw this.crash
    await sleep(100)
    equal(this.records.length, count, 'records read')
    return this.records
  }

  async leave() {
    await this.consumer.disconnect()
    this.held = []
  }
}

/** Exactly `count` records, as a group of its own reads them. */
async function read(topic, count, settings = {}) {
  const member = await Member.join(topic, fresh('group'), settings)
  await member.read(count)
  await member.leave()
  return member.records
}

const readNumbers = async (topic, count, settings) =>
  (await read(topic, count, settings)).map(record => Number(record.value))

async function balanced(members, shares) {
  const question = () => {
    const held = members.flatMap(member => member.held)
    const found = members.map(member => member.held.length).sort()
    return JSON.stringify(found) === JSON.stringify(shares) && new Set(held).size === held.length
  }
  await eventually(question, `shares ${shares}`, 40)
}

async function committed(group, topic) {
  const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  return partitions.sort((a, b) => a.partition - b.partition).map(({ offset }) => Number(offset))
}

/** Asks again where others do by themselves: a new partition has no leader yet, a transaction's markers are on their way. */
async function patiently(action) {
  const passing = ['CONCURRENT_TRANSACTIONS', 'NOT_LEADER_FOR_PARTITION', 'UNKNOWN_TOPIC_OR_PARTITION']
  const attempt = async () => {
    try {
      return { answer: await action() }
    } catch (error) {
      if (!passing.includes(error.type)) throw error
    }
  }
  return (await eventually(attempt, 'an answer')).answer
}

const ends = async topic => {
  const offsets = await patiently(() => admin.fetchTopicOffsets(topic))
  return offsets.sort((a, b) => a.partition - b.partition).map(({ low, high }) => [Number(low), Number(high)])
}

check('a created topic is described with its partitions', async () => {
  const topic = await create()
  const [described] = (await admin.fetchTopicMetadata({ topics: [topic] })).topics
  const { brokers, controller } = await admin.describeCluster()
  equal(brokers.length, 1, 'brokers')
  equal(controller, brokers[0].nodeId, 'controller')
  equal(`${brokers[0].host}:${brokers[0].port}`, BOOTSTRAP, 'address')
  const partitions = described.partitions.sort((a, b) => a.partitionId - b.partitionId)
  const expected = range(0, PARTITIONS).map(number => [number, controller, [controller], [controller]])
  equal(partitions.map(({ partitionId, leader, replicas, isr }) => [partitionId, leader, replicas, isr]), expected, 'partitions')
  equal((await admin.listTopics()).includes(topic), true, 'the topic is listed')
})

for (const [codec, compression] of Object.entries(CompressionTypes)) {
  check(`fifteen hundred records with ${codec} come back as they were sent`, async () => {
    const topic = await create()
    const messages = range(0, 1500).map(number => ({
      partition: number % PARTITIONS,
      key: `key ${number}`,
      value: `value ${number} `.repeat(20),
      headers: { n: `${number}`, twice: ['a', 'b'], empty: '' },
      timestamp: String(BASE_TIME + number),
    }))
    equal(await produce(topic, messages, compression), [0, 0, 0], 'first offsets')
    const found = new Map()
    for (const record of await read(topic, messages.length)) found.set(`${record.partition}/${record.offset}`, record)
    for (const [number, sent] of messages.entries()) {
      const place = `${sent.partition}/${Math.floor(number / PARTITIONS)}`
      const { key, value, timestamp, headers } = found.get(place)
      equal([`${key}`, `${value}`, timestamp], [sent.key, sent.value, sent.timestamp], `record at ${place}`)
      equal([`${headers.n}`, headers.twice.map(String), `${headers.empty}`], [`${number}`, ['a', 'b'], ''], `headers at ${place}`)
    }
  })
}

check('a null and an empty value, and a missing key, are told apart', async () => {
  const topic = await create(1)
  await produce(topic, [{ key: 'k', value: null }, { key: '', value: '' }, { value: 'v' }])
  const found = (await read(topic, 3)).map(({ key, value }) => [key?.toString() ?? null, value?.toString() ?? null])
  equal(found, [['k', null], ['', ''], [null, 'v']], 'keys and values')
})

check('order is kept within a partition', async () => {
  const topic = await create(1)
  await withProducer({ idempotent: true, maxInFlightRequests: 1 }, async producer => {
    for (const first of range(0, 60).map(batch => batch * 50)) {
      const answers = await producer.send({ topic, messages: numbered(range(first, first + 50)) })
      equal(baseOffsets(answers), [first], 'first offset of a request')
    }
  })
  const records = await read(topic, 3000)
  const found = records.map(({ offset, value }) => [Number(offset), Number(value)])
  equal(found, range(0, 3000).map(number => [number, number]), 'offsets and values')
})

check('one request may hold several topics, and ask for any acknowledgement', async () => {
  const topics = [await create(1), await create(2)]
  const topicMessages = [
    { topic: topics[0], messages: numbered(range(0, 10)) },
    { topic: topics[1], messages: numbered(range(0, 10), 2) },
  ]
  await withProducer({}, async producer => {
    equal((await producer.sendBatch({ topicMessages, acks: 1 })).length, 3, 'answers for partitions')
    equal(await producer.sendBatch({ topicMessages, acks: 0 }), [], 'answers without acknowledgement')
    await producer.sendBatch({ topicMessages, acks: -1 })
  })
  equal(await ends(topics[0]), [[0, 30]], 'offsets of the first topic')
  equal(await ends(topics[1]), [[0, 15], [0, 15]], 'offsets of the second topic')
  equal(await readNumbers(topics[0], 30), range(0, 3).flatMap(() => range(0, 10)), 'values')
})

check('big messages pass where their topic takes them, also to a reader that asks for less', async () => {
  const topic = await create(1, { 'max.message.bytes': '6000000' })
  const value = Buffer.alloc(4_000_000, 'big ')
  await withProducer({}, producer => producer.send({ topic, messages: [{ value }, { value: 'small' }] }))
  const records = await read(topic, 2, { maxBytesPerPartition: 1000, maxBytes: 1000 })
  equal([records[0].value.equals(value), `${records[1].value}`], [true, 'small'], 'values')
})

check('a too large record is refused', async () => {
  const topic = await create(1)
  const error = await refusal(() => produce(topic, [{ value: Buffer.alloc(1_500_000) }]))
  equal(error.type, 'MESSAGE_TOO_LARGE', 'error')
  equal(await produce(topic, [{ value: 'small' }]), [0], 'offset of the next one')
})

check('offsets are found by end and by time', async () => {
  const topic = await create(1)
  await produce(topic, range(0, 100).map(number => ({ value: 'x', timestamp: String(BASE_TIME + 10 * number) })))
  equal(await ends(topic), [[0, 100]], 'first and next offset')
  const at = async time => (await admin.fetchTopicOffsetsByTimestamp(topic, time))[0].offset
  equal([await at(BASE_TIME), await at(BASE_TIME + 495)], ['0', '50'], 'offsets by time')
  equal(await at(BASE_TIME + 5000), '100', 'offset after the last time, for which this client takes the end')
})

check('a reader goes where it is sent', async () => {
  const topic = await create(1)
  await produce(topic, numbered(range(0, 100)))
  const member = await Member.join(topic, fresh('group'))
  await member.read(100)
  member.consumer.seek({ topic, partition: 0, offset: '90' })
  await member.read(110)
  equal(member.values.slice(100), range(90, 100), 'values after going back')
  // Beyond the end there is nothing: the client begins again.
  member.consumer.seek({ topic, partition: 0, offset: '1000' })
  await member.read(210)
  equal(member.values.slice(110), range(0, 100), 'values after an offset out of range')
  await member.leave()
})

check('a reader can pause a partition', async () => {
  const topic = await create(2)
  const member = await Member.join(topic, fresh('group'))
  member.consumer.pause([{ topic, partitions: [1] }])
  await produce(topic, numbered(range(0, 20), 2))
  await member.read(10)
  equal(new Set(member.records.map(record => record.partition)), new Set([0]), 'partitions')
  member.consumer.resume([{ topic, partitions: [1] }])
  await member.read(20)
  await member.leave()
})

check('a group goes on where it committed', async () => {
  const [topic, group] = [await create(), fresh('group')]
  await produce(topic, numbered(range(0, 300), PARTITIONS))
  const first = await Member.join(topic, group)
  await first.read(300)
  const offsets = range(0, PARTITIONS).map(partition => ({ topic, partition, offset: '100', metadata: `note ${partition}` }))
  await first.consumer.commitOffsets(offsets)
  const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  equal(partitions.map(part => part.metadata).sort(), ['note 0', 'note 1', 'note 2'], 'metadata')
  await first.leave()
  await produce(topic, numbered(range(300, 330), PARTITIONS))
  const second = await Member.join(topic, group, {}, { autoCommit: true, autoCommitThreshold: 1 })
  await second.read(30)
  equal(second.values.sort(), range(300, 330), 'values of the second run')
  await second.leave()
  equal(await committed(group, topic), [110, 110, 110], 'offsets that the client committed by itself')
})

check('members share, join and leave a group', async () => {
  const [topic, group] = [await create(4), fresh('group')]
  const first = await Member.join(topic, group)
  await balanced([first], [4])
  const second = await Member.join(topic, group)
  await balanced([first, second], [2, 2])
  await produce(topic, numbered(range(0, 400), 4))
  await eventually(() => first.records.length + second.records.length >= 400, 'all records')
  equal([...first.values, ...second.values].sort((a, b) => a - b), range(0, 400), 'each record once, over both members')
  await second.leave()
  await balanced([first], [4])
  await first.leave()
})

check('a killed member loses its partitions', async () => {
  const [topic, group] = [await create(4), fresh('group')]
  const member = await Member.join(topic, group)
  await balanced([member], [4])
  const other = fork(path.join(__dirname, 'member.js'), [BOOTSTRAP, topic, group])
  const joined = once(other, 'message')
  try {
    await balanced([member], [2])
    equal((await joined)[0].length, 2, 'partitions of the other member')
    const died = Date.now()
    other.kill('SIGKILL')
    await balanced([member], [4])
    const seconds = (Date.now() - died) / 1000
    equal(seconds > 2 && seconds < 20, true, `its partitions came back after ${seconds} s, its session lasts 6 s; in time`)
  } finally {
    other.kill('SIGKILL')
  }
  await member.leave()
})

check('groups are listed, described and deleted', async () => {
  const [topic, group] = [await create(1), fresh('group')]
  await produce(topic, numbered([0]))
  const member = await Member.join(topic, group, {}, { autoCommit: true, autoCommitThreshold: 1 })
  await member.read(1)
  const listed = async () => (await admin.listGroups()).groups.filter(entry => entry.groupId === group)
  equal(await listed(), [{ groupId: group, protocolType: 'consumer' }], 'entry in the list')
  const [{ state, protocol, members }] = (await admin.describeGroups([group])).groups
  equal([state, protocol, members.length, members[0].clientId], ['Stable', 'RoundRobinAssigner', 1, 'kafkajs'], 'description')
  const error = await refusal(() => admin.deleteGroups([group]))
  equal(error.groups.map(entry => entry.error.type), ['NON_EMPTY_GROUP'], 'error while it has a member')
  await member.leave()
  equal(await committed(group, topic), [1], 'committed offset')
  equal((await admin.describeGroups([group])).groups[0].state, 'Empty', 'state without members')
  await admin.deleteGroups([group])
  equal(await listed(), [], 'entries in the list once it is deleted')
  equal((await admin.describeGroups([group])).groups[0].state, 'Dead', 'state once it is deleted')
})

check('records before an offset can be deleted', async () => {
  const topic = await create(2)
  await produce(topic, numbered(range(0, 20), 2))
  // This client deletes only in topics that it has asked about before.
  equal(await ends(topic), [[0, 10], [0, 10]], 'offsets')
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '7' }, { partition: 1, offset: '-1' }] })
  equal(await ends(topic), [[7, 10], [10, 10]], 'offsets that are left')
  equal(await readNumbers(topic, 3), [14, 16, 18], 'values that are left')
})

check('partitions and settings can be changed', async () => {
  const topic = await create(1, { 'cleanup.policy': 'delete', 'retention.ms': '7200000' })
  await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
  const partitions = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions
  await eventually(async () => (await partitions()).length === 4, 'four partitions')
  const refused = await refusal(() => admin.createPartitions({ topicPartitions: [{ topic, count: 2 }] }))
  equal(refused.type, 'INVALID_PARTITIONS', 'error for fewer partitions')
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
  const entry = async name => {
    const described = await admin.describeConfigs({ includeSynonyms: true, resources: [{ ...resource, configNames: [name] }] })
    const [{ configValue, isDefault }] = described.resources[0].configEntries
    return [configValue, isDefault]
  }
  equal(await entry('retention.ms'), ['7200000', false], 'retention as created')
  const alter = value => ({ validateOnly: false, resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value }] }] })
  await admin.alterConfigs(alter('3600000'))
  await eventually(async () => (await entry('retention.ms'))[0] === '3600000', 'retention.ms is changed')
  equal((await refusal(() => admin.alterConfigs(alter('soon')))).type, 'INVALID_CONFIG', 'error for what is no number')
  equal(await entry('max.message.bytes'), ['1048588', true], 'a default')
})

check('bad topics are refused', async () => {
  const topic = await create(1)
  const refused = async (name, settings) => {
    const { errors } = await refusal(() => admin.createTopics({ topics: [{ topic: name, ...settings }] }))
    return errors.map(error => error.type)
  }
  equal(await refused('not valid!'), ['INVALID_TOPIC_EXCEPTION'], 'error for a name')
  equal(await refused(fresh('topic'), { replicationFactor: 7 }), ['INVALID_REPLICATION_FACTOR'], 'error for seven replicas')
  const configEntries = [{ name: 'retention.ms', value: 'soon' }]
  equal(await refused(fresh('topic'), { configEntries }), ['INVALID_CONFIG'], 'error for a setting')
  equal(await admin.createTopics({ topics: [{ topic }] }), false, 'creating a topic that is there')
})

check('an unknown topic is not created for a reader, and is for a writer that may', async () => {
  const topic = fresh('kafkajs')
  const once = { retry: { retries: 1 } }
  const unknown = await refusal(() => withProducer(once, producer => producer.send({ topic, messages: [{ value: 'x' }] })))
  equal(unknown.type ?? unknown.cause?.type, 'UNKNOWN_TOPIC_OR_PARTITION', `error of a writer: ${unknown}`)
  equal((await refusal(() => Member.join(topic, fresh('group'), once))).type, 'UNKNOWN_TOPIC_OR_PARTITION', 'error of a reader')
  equal((await admin.listTopics()).includes(topic), false, 'the topic is listed')
  await withProducer({ allowAutoTopicCreation: true }, producer => producer.send({ topic, messages: [{ value: 'x' }] }))
  equal((await ends(topic)).length, 3, 'partitions')
  await read(topic, 1)
})

check('a deleted topic is gone', async () => {
  const topic = await create(1)
  await produce(topic, numbered(range(0, 10)))
  await admin.deleteTopics({ topics: [topic] })
  await eventually(async () => !(await admin.listTopics()).includes(topic), 'the topic is gone')
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] })
  equal(await ends(topic), [[0, 0]], 'offsets of a new topic of that name')
})

async function transactional(name = fresh('id'), settings = {}) {
  const producer = kafka.producer({ transactionalId: name, idempotent: true, maxInFlightRequests: 1, ...settings })
  await producer.connect()
  return producer
}

async function inTransaction(producer, topic, numbers, partitions = 1, commits = true) {
  const transaction = await producer.transaction()
  await patiently(() => transaction.send({ topic, messages: numbered(numbers, partitions) }))
  await (commits ? transaction.commit() : transaction.abort())
}

check('a committed transaction is read whole, and an aborted one not at all', async () => {
  const [topic, producer] = [await create(), await transactional()]
  await inTransaction(producer, topic, range(0, 300), PARTITIONS)
  await inTransaction(producer, topic, range(300, 600), PARTITIONS, false)
  await inTransaction(producer, topic, range(600, 900), PARTITIONS)
  const sorted = async (...reading) => (await readNumbers(topic, ...reading)).sort((a, b) => a - b)
  equal(await sorted(600), [...range(0, 300), ...range(600, 900)], 'committed values')
  equal(await sorted(900, { readUncommitted: true }), range(0, 900), 'all values')
  await producer.disconnect()
})

check('ten transactions in a row keep their order', async () => {
  const [topic, producer] = [await create(1), await transactional()]
  const expected = range(0, 10).filter(number => number % 4 !== 3)
  for (const number of range(0, 10)) await inTransaction(producer, topic, [number], 1, expected.includes(number))
  equal(await readNumbers(topic, expected.length), expected, 'values in order')
  equal(await ends(topic), [[0, 20]], 'a record and a marker for each')
  await producer.disconnect()
})

check('an open transaction holds readers of committed records back', async () => {
  const [topic, producer, other] = [await create(1), await transactional(), await transactional()]
  const open = await producer.transaction()
  await open.send({ topic, messages: numbered([0]) })
  await inTransaction(other, topic, [1])
  equal(await readNumbers(topic, 2, { readUncommitted: true }), [0, 1], 'values to readers of everything')
  const reader = await Member.join(topic, fresh('group'))
  await reader.read(0)
  await open.commit()
  await reader.read(2)
  equal(reader.values, [0, 1], 'values in the order of their offsets')
  await Promise.all([reader.leave(), producer.disconnect(), other.disconnect()])
})

check('offsets move with the commit and stay with the abort', async () => {
  const [topic, group, producer] = [await create(1), fresh('group'), await transactional()]
  await produce(topic, numbered(range(0, 10)))
  for (const [offset, commits, expected] of [[3, true, 3], [5, false, 3], [6, true, 6]]) {
    const transaction = await producer.transaction()
    await patiently(() => transaction.send({ topic, messages: numbered([offset]) }))
    const topics = [{ topic, partitions: [{ partition: 0, offset: String(offset) }] }]
    await patiently(() => transaction.sendOffsets({ consumerGroupId: group, topics }))
    await (commits ? transaction.commit() : transaction.abort())
    await eventually(async () => (await committed(group, topic))[0] === expected, `committed offset ${expected}`)
  }
  await producer.disconnect()
})

check('a newer producer fences the older one', async () => {
  const [topic, name] = [await create(1), fresh('id')]
  const older = await transactional(name)
  const open = await older.transaction()
  await open.send({ topic, messages: numbered([0]) })
  const newer = await transactional(name)
  const next = await newer.transaction()
  equal((await refusal(() => open.send({ topic, messages: numbered([1]) }))).type, 'INVALID_PRODUCER_EPOCH', 'error of a send')
  equal((await refusal(() => open.commit())).type, 'INVALID_PRODUCER_EPOCH', 'error of a commit')
  await patiently(() => next.send({ topic, messages: numbered([2]) }))
  await next.commit()
  equal(await readNumbers(topic, 1), [2], 'committed values')
  await Promise.all([older.disconnect(), newer.disconnect()])
})

if (mayBeKilled) {
  check('nothing acknowledged is lost, doubled or out of order though the broker is killed', async () => {
    const topic = await create()
    const member = await Member.join(topic, fresh('group'), {}, { autoCommit: true, autoCommitInterval: 100 })
    let sent = 0
    await withProducer({ idempotent: true, maxInFlightRequests: 1 }, async producer => {
      const send = async () => {
        await producer.send({ topic, messages: numbered(range(sent, sent + 9), PARTITIONS) })
        sent += 9
      }
      for (let kills = 0; kills < 2; kills++) await whileKilled(BOOTSTRAP, 50, send)
    })
    const inOrder = range(0, PARTITIONS).map(partition => range(0, sent).filter(number => number % PARTITIONS === partition))
    const records = await read(topic, sent)
    const found = range(0, PARTITIONS).map(partition => records.filter(record => record.partition === partition))
    equal(found.map(part => part.map(record => Number(record.value))), inOrder, 'values of each partition')
    await eventually(() => member.crash ?? new Set(member.values).size === sent, 'the member of the group reads everything', 60)
    equal(member.crash, undefined, 'fault of the member')
    await member.leave()
  })
}

admin.connect().then(run)
