/** @platformatic/kafka, unchanged: client.js HOST:PORT */

const { fork } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')
const {
  Admin,
  CompressionAlgorithms,
  ConfigResourceTypes,
  Consumer,
  FetchIsolationLevels,
  IncrementalAlterConfigOperationTypes,
  ListOffsetTimestamps,
  ProduceAcks,
  Producer,
  cooperativeStickyAssigner,
  stringDeserializers,
  stringSerializers,
} = require('@platformatic/kafka')
const { check, equal, eventually, fresh, mayBeKilled, range, refusal, run, sleep, whileKilled } = require('checking')

const BOOTSTRAP = process.argv[2]
const PARTITIONS = 3
const BASE_TIME = 1_700_000_000_000n
/** Groups of the clients' protocol, and of the brokers'. */
const CLASSIC = { sessionTimeout: 6000, rebalanceTimeout: 10_000, heartbeatInterval: 200 }
const CONSUMER = { groupProtocol: 'consumer' }
const base = { clientId: 'platformatic', bootstrapBrokers: [BOOTSTRAP], retries: 600, retryDelay: 50 }
const admin = new Admin(base)

async function create(partitions = PARTITIONS, configs = {}, topic = fresh('platformatic')) {
  const entries = Object.entries(configs).map(([name, value]) => ({ name, value }))
  const [created] = await admin.createTopics({ topics: [topic], partitions, replicas: 1, configs: entries })
  equal([created.name, created.partitions, created.replicas], [topic, partitions, 1], 'created topic')
  for (const [name, value] of Object.entries(configs)) equal(created.configuration[name], value, name)
  // A partition whose leader does not know it yet refuses, and this client then sends to all partitions again.
  await ends(topic, partitions)
  return topic
}

/** The names of all the errors that an error holds. */
const names = error => (error.errors ? error.errors.flatMap(names) : [error.apiId ?? error.message])

const refused = async action => [...new Set(names(await refusal(action)))]

async function withProducer(settings, action) {
  const producer = new Producer({ ...base, serializers: stringSerializers, ...settings })
  try {
    return await action(producer)
  } finally {
    await producer.close(true)
  }
}

/** Sends the messages in one request, and returns the first offset in each partition, by partition. */
const produce = (topic, messages, settings = {}) =>
  withProducer(settings, producer => send(producer, topic, messages))

async function send(producer, topic, messages) {
  const { offsets } = await producer.send({ messages: messages.map(message => ({ topic, ...message })) })
  return offsets.sort((a, b) => a.partition - b.partition).map(({ offset }) => Number(offset))
}

/** Messages whose values are the numbers, in turn to each partition. */
const numbered = (numbers, partitions = 1) =>
  numbers.map(number => ({ partition: number % partitions, value: String(number) }))

/** A member of a group that reads from the beginning until it leaves. */
class Member {
  static async join(topic, group, settings = CLASSIC, reading = {}) {
    const member = new Member()
    member.topic = topic
    member.records = []
    const options = { ...base, groupId: group, deserializers: stringDeserializers, maxWaitTime: 50, ...settings }
    member.consumer = new Consumer(options)
    const where = { mode: 'committed', fallbackMode: 'earliest', autocommit: false }
    member.stream = await member.consumer.consume({ topics: [topic], ...where, ...reading })
    member.stream.on('data', record => member.records.push(record))
    member.stream.on('error', fault => (member.fault = fault))
    return member
  }

  get held() {
    return this.consumer.assignments?.find(assignment => assignment.topic === this.topic)?.partitions ?? []
  }

  get values() {
    return this.records.map(record => Number(record.value))
  }

  /** Waits for exactly `count` records; one more is a fault, too. */
  async read(count) {
    await eventually(() => this.fault ?? this.records.length >= count, `${count} records`, 60)
    if (this.fault) throw this.fault
    await sleep(100)
    equal(this.records.length, count, 'records read')
    return this.records
  }

  commit(offset) {
    const offsets = this.held.map(partition => ({ topic: this.topic, partition, offset, leaderEpoch: 0 }))
    return this.consumer.commit({ offsets })
  }

  leave() {
    return this.consumer.close(true)
  }
}

/** Exactly `count` records, as a group of its own reads them. */
async function read(topic, count, reading = {}) {
  const member = await Member.join(topic, fresh('group'), CLASSIC, reading)
  await member.read(count)
  await member.leave()
  return member.records
}

const readNumbers = async (...reading) => (await read(...reading)).map(record => Number(record.value))

async function balanced(members, shares) {
  const question = () => {
    for (const { fault } of members) if (fault) throw fault
    const held = members.flatMap(member => member.held)
    const found = members.map(member => member.held.length).sort()
    return JSON.stringify(found) === JSON.stringify(shares) && new Set(held).size === held.length
  }
  await eventually(question, `shares ${shares}`, 40)
}

/** The offset at a time in each partition, or at one of the places that have negative numbers. */
async function offsetsAt(topic, partitions, timestamp, isolationLevel = FetchIsolationLevels.READ_UNCOMMITTED) {
  const asked = range(0, partitions).map(partitionIndex => ({ partitionIndex, timestamp }))
  const [found] = await admin.listOffsets({ topics: [{ name: topic, partitions: asked }], isolationLevel })
  return found.partitions.sort((a, b) => a.partitionIndex - b.partitionIndex).map(({ offset }) => Number(offset))
}

const ends = (topic, partitions, isolation) => offsetsAt(topic, partitions, ListOffsetTimestamps.LATEST, isolation)

/** The committed offset of each partition that has one. */
async function committed(group) {
  const [{ topics }] = await admin.listConsumerGroupOffsets({ groups: [group] })
  const partitions = topics.flatMap(topic => topic.partitions).sort((a, b) => a.partitionIndex - b.partitionIndex)
  return partitions.map(({ committedOffset }) => Number(committedOffset))
}

check('a created topic is described with its partitions', async () => {
  const topic = await create()
  const { brokers, controllerId, topics } = await admin.metadata({ topics: [topic] })
  const nodes = [...brokers].map(([id, { host, port }]) => [id, `${host}:${port}`])
  equal(nodes, [[controllerId, BOOTSTRAP]], 'brokers')
  const partitions = topics.get(topic).partitions.map(({ leader, replicas, isr }) => [leader, replicas, isr])
  equal(partitions, range(0, PARTITIONS).map(() => [controllerId, [controllerId], [controllerId]]), 'partitions')
  equal((await admin.listTopics()).includes(topic), true, 'the topic is listed')
})

for (const compression of Object.values(CompressionAlgorithms)) {
  check(`fifteen hundred records with ${compression} come back as they were sent`, async () => {
    const topic = await create()
    const messages = range(0, 1500).map(number => ({
      partition: number % PARTITIONS,
      key: `key ${number}`,
      value: `value ${number} `.repeat(20),
      headers: { n: `${number}`, empty: '' },
      timestamp: BASE_TIME + BigInt(number),
    }))
    equal(await produce(topic, messages, { compression }), [0, 0, 0], 'first offsets')
    const found = new Map()
    for (const record of await read(topic, messages.length)) found.set(`${record.partition}/${record.offset}`, record)
    for (const [number, sent] of messages.entries()) {
      const place = `${sent.partition}/${Math.floor(number / PARTITIONS)}`
      const { key, value, timestamp, headers } = found.get(place)
      equal([key, value, timestamp], [sent.key, sent.value, sent.timestamp], `record at ${place}`)
      equal(Object.fromEntries(headers), sent.headers, `headers at ${place}`)
    }
  })
}

check('order is kept within a partition', async () => {
  const topic = await create(1)
  await withProducer({ idempotent: true }, async producer => {
    for (const first of range(0, 60).map(batch => batch * 50)) {
      equal(await send(producer, topic, numbered(range(first, first + 50))), [first], 'first offset of a request')
    }
  })
  const records = await read(topic, 3000)
  const found = records.map(({ offset, value }) => [Number(offset), Number(value)])
  equal(found, range(0, 3000).map(number => [number, number]), 'offsets and values')
})

check('records are kept whatever acknowledgement is asked for', async () => {
  const topic = await create(1)
  await withProducer({}, async producer => {
    for (const acks of [ProduceAcks.ALL, ProduceAcks.LEADER, ProduceAcks.NO_RESPONSE]) {
      await producer.send({ acks, messages: numbered(range(0, 10)).map(message => ({ topic, ...message })) })
    }
  })
  equal(await readNumbers(topic, 30), range(0, 3).flatMap(() => range(0, 10)), 'values')
})

check('big messages pass where their topic takes them, also to a reader that asks for less', async () => {
  const topic = await create(1, { 'max.message.bytes': '6000000' })
  const value = 'big '.repeat(1_000_000)
  await produce(topic, [{ value }, { value: 'small' }])
  const records = await read(topic, 2, { maxBytes: 1000, maxBytesPerPartition: 1000 })
  equal([records[0].value === value, records[1].value], [true, 'small'], 'values')
})

check('a too large record is refused', async () => {
  const topic = await create(1)
  equal(await refused(() => produce(topic, [{ partition: 0, value: 'x'.repeat(1_500_000) }])), ['MESSAGE_TOO_LARGE'], 'error')
  equal(await produce(topic, [{ partition: 0, value: 'small' }]), [0], 'offset of the next one')
})

check('offsets are found by end and by time', async () => {
  const topic = await create(1)
  const times = [...range(0, 100), 50].map(number => BASE_TIME + 10n * BigInt(number))
  await produce(topic, times.map(timestamp => ({ partition: 0, value: 'x', timestamp })))
  const at = time => offsetsAt(topic, 1, time)
  equal([await at(ListOffsetTimestamps.EARLIEST), await at(ListOffsetTimestamps.LATEST)], [[0], [101]], 'first and next offset')
  equal([await at(BASE_TIME), await at(BASE_TIME + 495n)], [[0], [50]], 'offsets by time')
  equal(await at(ListOffsetTimestamps.MAX), [99], 'offset of the largest time')
  equal(await at(BASE_TIME + 5000n), [-1], 'offset after the last time')
})

check('a reader begins where it is told', async () => {
  const topic = await create(1)
  await produce(topic, numbered(range(0, 100)))
  const from = (offset, more = {}) => ({ mode: 'manual', offsets: [{ topic, partition: 0, offset }], ...more })
  equal(await readNumbers(topic, 10, from(90n)), range(90, 100), 'values from an offset on')
  equal(await readNumbers(topic, 100, from(1000n)), range(0, 100), 'values where there is nothing at the offset')
  const failing = await Member.join(topic, fresh('group'), CLASSIC, from(1000n, { fallbackMode: 'fail' }))
  const fault = await eventually(() => failing.fault, 'an error')
  equal([...new Set(names(fault))], ['OFFSET_OUT_OF_RANGE'], 'error of a reader that does not look elsewhere')
  await failing.leave()
})

for (const settings of [CLASSIC, CONSUMER]) {
  const protocol = settings.groupProtocol ?? 'classic'

  check(`a group goes on where it committed, in the ${protocol} protocol`, async () => {
    const [topic, group] = [await create(), fresh('group')]
    await produce(topic, numbered(range(0, 300), PARTITIONS))
    const first = await Member.join(topic, group, settings)
    await first.read(300)
    await first.commit(100n)
    const stored = await first.consumer.listCommittedOffsets({ topics: [{ topic, partitions: [0, 1, 2] }] })
    equal(stored, new Map([[topic, [100n, 100n, 100n]]]), 'committed offsets')
    await first.leave()
    await produce(topic, numbered(range(300, 330), PARTITIONS))
    const second = await Member.join(topic, group, settings, { autocommit: 50 })
    await second.read(30)
    equal(second.values.sort(), range(300, 330), 'values of the second run')
    await second.leave()
    equal(await committed(group), [110, 110, 110], 'offsets that the client committed by itself')
  })
}

const COOPERATIVE = {
  protocols: [{ name: 'cooperative-sticky', version: 3 }],
  partitionAssigner: cooperativeStickyAssigner,
}
const JOINING = {
  'round robin': CLASSIC,
  'cooperative-sticky': { ...CLASSIC, ...COOPERATIVE },
  uniform: { ...CONSUMER, groupRemoteAssignor: 'uniform' },
}

for (const [assignor, settings] of Object.entries(JOINING)) {
  const protocol = settings.groupProtocol ?? 'classic'

  check(`members share, join and leave a group with ${assignor}, in the ${protocol} protocol`, async () => {
    const [topic, group] = [await create(4), fresh('group')]
    const first = await Member.join(topic, group, settings)
    await balanced([first], [4])
    const second = await Member.join(topic, group, settings)
    await balanced([first, second], [2, 2])
    // What is asked for since before the rebalance still names what the member has lost.
    await Promise.all([first, second].map(member => once(member.stream, 'fetch')))
    await produce(topic, numbered(range(0, 400), 4))
    await eventually(() => first.records.length + second.records.length >= 400, 'all records')
    equal([...first.values, ...second.values].sort((a, b) => a - b), range(0, 400), 'each record once, over both members')
    await second.leave()
    await balanced([first], [4])
    await first.leave()
  })
}

/** A member in a process of its own. */
function forked(topic, settings) {
  const member = fork(path.join(__dirname, 'member.js'), [BOOTSTRAP, topic, JSON.stringify(settings)])
  member.held = []
  member.on('message', held => (member.held = held))
  return member
}

async function killedMember(settings) {
  const [topic, group] = [await create(4), fresh('group')]
  const member = await Member.join(topic, group, settings)
  await balanced([member], [4])
  const other = forked(topic, { groupId: group, ...settings })
  try {
    await balanced([member, other], [2, 2])
    const died = Date.now()
    other.kill('SIGKILL')
    await balanced([member], [4])
    const seconds = (Date.now() - died) / 1000
    equal(seconds > 2 && seconds < 20, true, `its partitions came back after ${seconds} s, its session lasts 6 s; in time`)
  } finally {
    other.kill('SIGKILL')
  }
  await member.leave()
}

check('a killed member loses its partitions, in both protocols', () => Promise.all([CLASSIC, CONSUMER].map(killedMember)))

check('a static member keeps its partitions over a kill, and loses them to an administrator', async () => {
  const [topic, group] = [await create(4), fresh('group')]
  const [one, two] = ['one', 'two'].map(groupInstanceId => ({ ...CLASSIC, groupInstanceId }))
  const member = await Member.join(topic, group, one)
  await balanced([member], [4])
  const processes = [forked(topic, { groupId: group, ...two })]
  try {
    await balanced([member, processes[0]], [2, 2])
    const generation = member.consumer.generationId
    const death = once(processes[0], 'exit')
    processes[0].kill('SIGKILL')
    await death
    processes.push(forked(topic, { groupId: group, ...two }))
    await balanced([member, processes[1]], [2, 2])
    equal(processes[1].held, processes[0].held, 'partitions of the returned member')
    equal(member.consumer.generationId, generation, 'generation')
    processes[1].kill('SIGKILL')
    const { members } = (await admin.describeGroups({ groups: [group] })).get(group)
    const [gone] = [...members.values()].filter(entry => entry.groupInstanceId === 'two')
    const removed = Date.now()
    await admin.removeMembersFromConsumerGroup({ groupId: group, members: [{ memberId: gone.id }] })
    await balanced([member], [4])
    equal(Date.now() - removed < 4000, true, 'partitions come back before the session ends')
  } finally {
    for (const process of processes) process.kill('SIGKILL')
  }
  await member.leave()
})

check('groups are listed by their protocol, described and deleted', async () => {
  const topic = await create(1)
  for (const [groupType, settings] of Object.entries({ classic: CLASSIC, consumer: CONSUMER })) {
    const group = fresh('group')
    const member = await Member.join(topic, group, settings)
    await balanced([member], [1])
    const listed = async (types = [groupType]) => (await admin.listGroups({ types })).get(group)
    equal(await listed(), { id: group, state: 'Stable', groupType, protocolType: 'consumer' }, 'entry in the list')
    equal(await listed([groupType === 'classic' ? 'consumer' : 'classic']), undefined, 'entry among the others')
    await member.commit(1n)
    equal(await refused(() => admin.deleteGroups({ groups: [group] })), ['NON_EMPTY_GROUP'], 'error while it has a member')
    await member.leave()
    equal((await listed()).state, 'Empty', 'state without members')
    equal(await committed(group), [1], 'committed offset')
    await admin.deleteGroups({ groups: [group] })
    equal(await listed(), undefined, 'entry once it is deleted')
  }
})

check('a group is described with its members', async () => {
  const [topic, group] = [await create(2), fresh('group')]
  const member = await Member.join(topic, group)
  await balanced([member], [2])
  const { state, protocol, protocolType, members } = (await admin.describeGroups({ groups: [group] })).get(group)
  equal([state, protocol, protocolType, members.size], ['Stable', 'roundrobin', 'consumer', 1], 'description')
  const [described] = members.values()
  equal([described.id, described.clientId], [member.consumer.memberId, 'platformatic'], 'member')
  equal(described.assignments.get(topic), { topic, partitions: [0, 1] }, 'assignment')
  await member.leave()
})

check("a group's offsets can be set and deleted", async () => {
  const [topic, group] = [await create(2), fresh('group')]
  await produce(topic, numbered(range(0, 20), 2))
  const partitionOffsets = [{ partition: 0, offset: 4n }, { partition: 1, offset: 6n }]
  await admin.alterConsumerGroupOffsets({ groupId: group, topics: [{ name: topic, partitionOffsets }] })
  equal(await committed(group), [4, 6], 'offsets that were set')
  await admin.deleteConsumerGroupOffsets({ groupId: group, topics: [{ name: topic, partitionIndexes: [1] }] })
  equal(await committed(group), [4], 'offsets that are left')
  const member = await Member.join(topic, group)
  await member.read(16)
  const first = partition => member.records.find(record => record.partition === partition).offset
  equal([first(0), first(1)], [4n, 0n], 'offsets at which the group begins')
  await member.leave()
})

check('records before an offset can be deleted', async () => {
  const topic = await create(2)
  await produce(topic, numbered(range(0, 20), 2))
  const partitions = [{ partition: 0, offset: 7n }, { partition: 1, offset: -1n }]
  const [{ partitions: left }] = await admin.deleteRecords({ topics: [{ name: topic, partitions }] })
  equal(left.sort((a, b) => a.partition - b.partition).map(part => part.lowWatermark), [7n, 10n], 'first offsets that are left')
  equal(await readNumbers(topic, 3), [14, 16, 18], 'values that are left')
})

check('partitions and settings can be changed', async () => {
  const topic = await create(1, { 'retention.ms': '7200000' })
  await admin.createPartitions({ topics: [{ name: topic, count: 4, assignments: null }] })
  const partitions = async () => (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).partitionsCount
  await eventually(async () => (await partitions()) === 4, 'four partitions')
  const fewer = () => admin.createPartitions({ topics: [{ name: topic, count: 2, assignments: null }] })
  equal(await refused(fewer), ['INVALID_PARTITIONS'], 'error for fewer partitions')
  const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic }
  const setting = async name => {
    const [{ configs }] = await admin.describeConfigs({ resources: [{ ...resource, configurationKeys: [name] }] })
    return configs[0].value
  }
  const { SET, DELETE, APPEND } = IncrementalAlterConfigOperationTypes
  const change = (configOperation, name, value) =>
    admin.incrementalAlterConfigs({ resources: [{ ...resource, configs: [{ name, configOperation, value }] }] })
  await change(SET, 'retention.ms', '3600000')
  await eventually(async () => (await setting('retention.ms')) === '3600000', 'retention.ms is changed')
  await change(APPEND, 'cleanup.policy', 'compact')
  await eventually(async () => (await setting('cleanup.policy')) === 'delete,compact', 'cleanup.policy is longer')
  await change(DELETE, 'retention.ms', null)
  await eventually(async () => (await setting('retention.ms')) === '604800000', 'retention.ms is the default')
  equal(await refused(() => change(SET, 'retention.ms', 'soon')), ['INVALID_CONFIG'], 'error for what is no number')
  await admin.alterConfigs({ resources: [{ ...resource, configs: [{ name: 'retention.ms', value: '1800000' }] }] })
  await eventually(async () => (await setting('retention.ms')) === '1800000', 'retention.ms is changed again')
  equal(await setting('cleanup.policy'), 'delete', 'a setting that the last change did not name')
})

check('what a topic takes on disk is told', async () => {
  const topic = await create(2)
  await produce(topic, [{ partition: 1, value: 'x'.repeat(1000) }])
  const [{ results }] = await admin.describeLogDirs({ topics: [{ name: topic, partitions: [0, 1] }] })
  const partitions = results[0].topics[0].partitions.sort((a, b) => a.partitionIndex - b.partitionIndex)
  const sizes = partitions.map(part => part.partitionSize)
  equal([sizes[0] === 0n, sizes[1] > 1000n && sizes[1] < 1200n], [true, true], `sizes ${sizes}`)
})

check('quotas of clients can be set and taken away', async () => {
  const name = fresh('client')
  const entities = [{ entityType: 'client-id', entityName: name }]
  const alter = op => admin.alterClientQuotas({ entries: [{ entities, ops: [{ key: 'producer_byte_rate', ...op }] }] })
  const found = async () => {
    const entries = await admin.describeClientQuotas({ components: [{ entityType: 'client-id', matchType: 0, match: name }] })
    return entries.flatMap(entry => entry.values.map(({ key, value }) => `${key} ${value}`)).join()
  }
  await alter({ value: 1_000_000, remove: false })
  await eventually(async () => (await found()) === 'producer_byte_rate 1000000', 'the quota')
  await alter({ value: 0, remove: true })
  await eventually(async () => (await found()) === '', 'no quota')
})

check('bad topics are refused', async () => {
  const topic = await create(1)
  const creating = (name, more = {}) => refused(() => admin.createTopics({ topics: [name], partitions: 1, replicas: 1, ...more }))
  equal(await creating('not/valid'), ['INVALID_TOPIC_EXCEPTION'], 'error for a name')
  equal(await creating(topic), ['TOPIC_ALREADY_EXISTS'], 'error for a topic that is there')
  equal(await creating(fresh('topic'), { replicas: 7 }), ['INVALID_REPLICATION_FACTOR'], 'error for seven replicas')
  const configs = [{ name: 'retention.ms', value: 'soon' }]
  equal(await creating(fresh('topic'), { configs }), ['INVALID_CONFIG'], 'error for a setting')
})

check('an unknown topic is not created for those who do not ask for it, and is for a writer that does', async () => {
  const topic = fresh('platformatic')
  const sending = settings => produce(topic, [{ key: 'k', value: '7' }], settings)
  equal(await refused(() => sending({ retries: 1 })), [`Unknown topic ${topic}.`], 'error of a writer')
  equal((await admin.listTopics()).includes(topic), false, 'the topic is listed')
  await sending({ autocreateTopics: true })
  equal((await ends(topic, PARTITIONS)).sort(), [0, 0, 1], 'ends of the partitions')
  equal(await readNumbers(topic, 1), [7], 'values')
})

check('a deleted topic is gone', async () => {
  const topic = await create(1)
  await produce(topic, numbered(range(0, 10)))
  await admin.deleteTopics({ topics: [topic] })
  await eventually(async () => !(await admin.listTopics()).includes(topic), 'the topic is gone')
  await create(1, {}, topic)
  equal(await readNumbers(topic, 0), [], 'values in a new topic of that name')
})

/** A producer of transactions. Left to itself this client asks for producer id 0, which only who has it may do. */
const transactional = (transactionalId = fresh('id')) =>
  new Producer({ ...base, serializers: stringSerializers, transactionalId, idempotent: true, producerId: -1n, producerEpoch: -1 })

async function inTransaction(producer, topic, numbers, partitions = 1, commits = true) {
  const transaction = await producer.beginTransaction()
  await send(transaction, topic, numbered(numbers, partitions))
  await (commits ? transaction.commit() : transaction.abort())
}

const EVERYTHING = { isolationLevel: FetchIsolationLevels.READ_UNCOMMITTED }

check('a committed transaction is read whole, and an aborted one not at all', async () => {
  const [topic, producer] = [await create(), transactional()]
  await inTransaction(producer, topic, range(0, 300), PARTITIONS)
  // One only: of several that a producer aborted this client leaves out the last in an answer.
  await inTransaction(producer, topic, range(300, 600), PARTITIONS, false)
  await inTransaction(producer, topic, range(600, 900), PARTITIONS)
  const sorted = async (...reading) => (await readNumbers(topic, ...reading)).sort((a, b) => a - b)
  equal(await sorted(600), [...range(0, 300), ...range(600, 900)], 'committed values')
  equal(await sorted(900, EVERYTHING), range(0, 900), 'all values')
  await producer.close()
})

check('ten transactions in a row keep their order', async () => {
  const [topic, producer] = [await create(1), transactional()]
  for (const number of range(0, 10)) await inTransaction(producer, topic, [number])
  equal(await readNumbers(topic, 10), range(0, 10), 'values in order')
  equal(await ends(topic, 1), [20], 'a record and a marker for each')
  await producer.close()
})

check('an open transaction holds readers of committed records back', async () => {
  const [topic, producer, other] = [await create(1), transactional(), transactional()]
  const open = await producer.beginTransaction()
  await send(open, topic, numbered([0]))
  await inTransaction(other, topic, [1])
  await eventually(async () => (await ends(topic, 1))[0] === 3, 'two records and the marker of the second')
  equal(await ends(topic, 1, FetchIsolationLevels.READ_COMMITTED), [0], 'end of committed records')
  equal(await readNumbers(topic, 2, EVERYTHING), [0, 1], 'values to readers of everything')
  const reader = await Member.join(topic, fresh('group'))
  await reader.read(0)
  await open.commit()
  await reader.read(2)
  equal(reader.values, [0, 1], 'values in the order of their offsets')
  await Promise.all([reader.leave(), producer.close(), other.close()])
})

check('offsets move with the commit and stay with the abort', async () => {
  const [topic, group, producer] = [await create(1), fresh('group'), transactional()]
  await produce(topic, numbered(range(0, 10)))
  const reader = await Member.join(topic, group)
  await reader.read(10)
  for (const [offset, commits, expected] of [[3, true, 3], [5, false, 3], [6, true, 6]]) {
    const transaction = await producer.beginTransaction()
    await transaction.addConsumer(reader.consumer)
    await transaction.addOffset(reader.records[offset - 1])
    await (commits ? transaction.commit() : transaction.abort())
    await eventually(async () => (await committed(group)).join() === String(expected), `committed offset ${expected}`)
  }
  await Promise.all([reader.leave(), producer.close()])
})

check('a newer producer fences the older one', async () => {
  const [topic, name] = [await create(1), fresh('id')]
  const [older, newer] = [transactional(name), transactional(name)]
  const open = await older.beginTransaction()
  await send(open, topic, numbered([0]))
  const next = await newer.beginTransaction()
  equal(await refused(() => send(open, topic, numbered([1]))), ['INVALID_PRODUCER_EPOCH'], 'error of a send')
  equal(await refused(() => open.commit()), ['PRODUCER_FENCED'], 'error of a commit')
  await send(next, topic, numbered([2]))
  await next.commit()
  equal(await readNumbers(topic, 1), [2], 'committed values')
  await Promise.all([older.close(true), newer.close()])
})

if (mayBeKilled) {
  check('nothing acknowledged is lost, doubled or out of order though the broker is killed', async () => {
    const topic = await create()
    const joined = [CLASSIC, CONSUMER].map(settings => Member.join(topic, fresh('group'), settings, { autocommit: 100 }))
    const members = await Promise.all(joined)
    let sent = 0
    await withProducer({ idempotent: true }, async producer => {
      const sendMore = async () => {
        await send(producer, topic, numbered(range(sent, sent + 9), PARTITIONS))
        sent += 9
      }
      for (let kills = 0; kills < 2; kills++) await whileKilled(BOOTSTRAP, 50, sendMore)
    })
    const records = await read(topic, sent)
    for (const partition of range(0, PARTITIONS)) {
      const found = records.filter(record => record.partition === partition).map(record => Number(record.value))
      equal(found, range(0, sent).filter(number => number % PARTITIONS === partition), `values of partition ${partition}`)
    }
    for (const member of members) {
      await eventually(() => member.fault ?? new Set(member.values).size === sent, 'a member reads everything', 60)
      equal(member.fault, undefined, 'fault of a member')
      await member.leave()
    }
  })
}

run()
