/** A member of a group that lives until it is killed: member.js HOST:PORT TOPIC SETTINGS. Tells its parent what it is assigned. */

const { Consumer } = require('@platformatic/kafka')

const [bootstrap, topic, settings] = process.argv.slice(2)
const consumer = new Consumer({
  clientId: 'member',
  bootstrapBrokers: [bootstrap],
  retries: 100,
  retryDelay: 50,
  maxWaitTime: 50,
  ...JSON.parse(settings),
})

async function live() {
  const stream = await consumer.consume({ topics: [topic], mode: 'latest', autocommit: false })
  stream.resume()
  let told
  setInterval(() => {
    const held = JSON.stringify(consumer.assignments?.find(assignment => assignment.topic === topic)?.partitions ?? [])
    if (held !== told) process.send(JSON.parse(held))
    told = held
  }, 20)
}

live()
