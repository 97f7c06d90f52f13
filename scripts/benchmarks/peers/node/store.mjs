// Where the peer keeps what has happened: nowhere, in two awaited writes per event, or in groups of them.
import { MongoClient } from "mongodb";

/** Keeps nothing: what is left is the server itself. */
class Nothing {
  async write() {}
}

/** Writes an event and the participant it changes, one after the other, as most applications do. */
class TwoWrites {
  constructor(database) {
    this.events = database.collection("events");
    this.participants = database.collection("participants");
  }

  async write(event, id, change) {
    await this.events.insertOne(event);
    await this.participants.updateOne({ _id: id }, { $set: change }, { upsert: true });
  }
}

/** Gathers what comes while a write is under way, and writes all of it at once. */
class Groups {
  constructor(database) {
    this.events = database.collection("events");
    this.participants = database.collection("participants");
    this.waiting = [];
    this.writing = false;
  }

  write(event, id, change) {
    return new Promise((resolve, reject) => {
      this.waiting.push({ event, id, change, resolve, reject });
      if (!this.writing) {
        this.run();
      }
    });
  }

  async run() {
    this.writing = true;
    while (this.waiting.length > 0) {
      const group = this.waiting.splice(0, 400);
      try {
        await this.events.insertMany(group.map((each) => each.event), { ordered: false });
        const updates = group.map(({ id, change }) => ({
          updateOne: { filter: { _id: id }, update: { $set: change }, upsert: true },
        }));
        await this.participants.bulkWrite(updates, { ordered: true });
        group.forEach((each) => each.resolve());
      } catch (error) {
        group.forEach((each) => each.reject(error));
      }
    }
    this.writing = false;
  }
}

/** Opens the store that the environment asks for. */
export async function openStore({ PEER_MONGO_URL: url, PEER_DATABASE: name, PEER_GROUPS: groups }) {
  if (!url) {
    return new Nothing();
  }
  const client = await new MongoClient(url, { writeConcern: { w: "majority", journal: true } }).connect();
  const database = client.db(name);
  await database.collection("events").createIndex({ sessionId: 1, seq: 1 }, { unique: true });
  return groups ? new Groups(database) : new TwoWrites(database);
}
