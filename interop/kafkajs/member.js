/** A member of a group that lives until it is killed: member.js HOST:PORT TOPIC GROUP. Tells its parent what it is assigned. */

const { Kafka, logLevel } = require('kafkajs')

const [bootstrap, topic, groupId] = process.argv.slice(2)
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING })
const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 200, maxWaitTimeInMs: 50 })

async function live() {
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => process.send(payload.memberAssignment[topic]))
  await consumer.connect()
  await consumer.subscribe({ topics: [topic] })
  await consumer.run({ eachMessage: async () => {} })
}

live()
