// Who calls whom, and what is done about links that do not work: the mesh without a browser, on a clock of its own.
//
// The connections are pretended: they exchange offers and answers as WebRTC does, roll back as it does, and are
// connected once both sides have agreed, if the network lets them. Signals go over a wire that can be held, cut and
// reordered.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Mesh } from "./mesh.js";

globalThis.MediaStream = class {
  #tracks = new Set();

  addTrack(track) {
    this.#tracks.add(track);
  }

  getTracks() {
    return [...this.#tracks];
  }
};

const settled = async () => {
  for (let turn = 0; turn < 50; turn += 1) {
    await Promise.resolve();
  }
};

// Both ends of a connection find each other here.
class Network {
  isUp = true;
  ends = [];

  agreed(one, other) {
    if (this.isUp && other.connectionState !== "closed") {
      for (const end of [one, other]) {
        end.become("connected");
      }
    }
  }

  fail() {
    this.isUp = false;
    this.ends.filter(({ connectionState }) => connectionState === "connected").forEach((end) => end.become("failed"));
  }
}

class Connection extends EventTarget {
  connectionState = "new";
  signalingState = "stable";
  localDescription = null;
  candidates = [];
  #network;
  #transceivers = [];
  #remote = null;
  #isNegotiating = false;

  constructor(network) {
    super();
    this.#network = network;
    network.ends.push(this);
  }

  addTransceiver(kind, { direction }) {
    this.#negotiate();
    return this.#transceive(kind, direction);
  }

  #transceive(kind, direction) {
    const sender = { track: null, replaceTrack: async (track) => (sender.track = track), getParameters: () => ({}) };
    const transceiver = { receiver: { track: { kind, of: this } }, sender, direction };
    this.#transceivers.push(transceiver);
    return transceiver;
  }

  getTransceivers() {
    return this.#transceivers;
  }

  async setLocalDescription() {
    await null;
    const type = this.signalingState === "have-remote-offer" ? "answer" : "offer";
    this.localDescription = { type, sdp: this };
    this.signalingState = type === "offer" ? "have-local-offer" : "stable";
    if (type === "answer") {
      this.#meet();
    }
  }

  async setRemoteDescription({ type, sdp }) {
    await null;
    if (type === "answer" && this.signalingState !== "have-local-offer") {
      throw new Error("an answer to nothing");
    }
    const isFirst = this.#remote === null;
    this.#remote = sdp; // an offer that crosses an own one rolls that back
    this.signalingState = type === "offer" ? "have-remote-offer" : "stable";
    if (isFirst) {
      for (const kind of ["audio", "video"]) {
        const transceiver = this.#transceivers.find(({ receiver }) => receiver.track.kind === kind);
        const { receiver } = transceiver ?? this.#transceive(kind, "recvonly");
        this.dispatchEvent(Object.assign(new Event("track"), { track: receiver.track }));
      }
    }
    if (type === "answer") {
      this.#meet();
    }
  }

  async addIceCandidate(candidate) {
    this.candidates.push(candidate);
  }

  restartIce() {
    this.#negotiate();
  }

  close() {
    this.connectionState = this.signalingState = "closed";
  }

  become(state) {
    if (this.connectionState !== "closed" && this.connectionState !== state) {
      this.connectionState = state;
      this.dispatchEvent(new Event("connectionstatechange"));
    }
  }

  #negotiate() {
    if (this.#isNegotiating) {
      return;
    }
    this.#isNegotiating = true;
    queueMicrotask(() => {
      this.#isNegotiating = false;
      if (this.signalingState === "stable") {
        this.dispatchEvent(new Event("negotiationneeded"));
      }
    });
  }

  #meet() {
    if (this.#remote !== null && this.#remote.signalingState === "stable") {
      this.#network.agreed(this, this.#remote);
    }
  }
}

// A room with people in it.
class Room {
  now = 0;
  network = new Network();
  people = new Map();
  isCut = false; // what is sent is lost
  isHeld = false; // what is sent waits in `held`
  held = [];
  sent = [];

  enter(...names) {
    for (const name of names) {
      const person = { name, isOnline: true, connections: [] };
      person.mesh = new Mesh({
        me: name,
        send: (to, data) => this.#carry({ from: name, to, data }),
        changed: () => {},
        isOnline: () => person.isOnline,
        connect: () => {
          const connection = new Connection(this.network);
          person.connections.push(connection);
          return connection;
        },
        now: () => this.now,
      });
      this.people.set(name, person);
    }
    this.tellWhoIsHere();
  }

  leave(name) {
    this.mesh(name).close();
    this.people.delete(name);
    this.tellWhoIsHere();
  }

  tellWhoIsHere(away = []) {
    const names = [...this.people.keys()];
    for (const { name, mesh } of this.people.values()) {
      const others = names.filter((other) => other !== name);
      mesh.setPeers(others.filter((other) => !away.includes(other)), others.filter((other) => away.includes(other)));
    }
  }

  mesh(name) {
    return this.people.get(name).mesh;
  }

  links(name) {
    return this.people.get(name).connections.filter(({ connectionState }) => connectionState !== "closed");
  }

  offers() {
    return this.sent.filter(({ data }) => data.description?.type === "offer");
  }

  async deliver(messages = this.held.splice(0)) {
    for (const { from, to, data } of messages) {
      this.people.get(to)?.mesh.take(from, data);
      await settled();
    }
  }

  // Lets time pass; whoever is named looks after its links each second.
  async pass(seconds, ...names) {
    for (let second = 0; second < seconds; second += 1) {
      this.now += 1_000;
      for (const name of names.length > 0 ? names : this.people.keys()) {
        this.mesh(name).check();
        await settled();
      }
    }
  }

  assertConnected(...names) {
    for (const name of names) {
      for (const other of names.filter((each) => each !== name)) {
        assert.ok(this.mesh(name).isConnected(other), `${name} is not connected to ${other}`);
        assert.deepEqual(this.mesh(name).streamOf(other).getTracks().map(({ kind }) => kind), ["audio", "video"]);
      }
      assert.equal(this.links(name).length, names.length - 1);
    }
  }

  #carry(message) {
    this.sent.push(message);
    if (this.isCut) {
      return;
    }
    if (this.isHeld) {
      this.held.push(message);
    } else {
      queueMicrotask(() => this.people.get(message.to)?.mesh.take(message.from, message.data));
    }
  }
}

let room;

function enter(...names) {
  room = new Room();
  room.enter(...names);
  return room;
}

// The last of them comes last, and calls the others.
async function connect(...names) {
  enter(...names);
  room.mesh(names.at(-1)).callAll();
  await settled();
}

// What a page would complain of on its console.
const complaints = [];
console.warn = (...words) => complaints.push(words.join(" "));

afterEach(() => {
  room.people.forEach(({ mesh }) => mesh.close());
  assert.deepEqual(complaints.splice(0), []);
});

test("a newcomer calls everybody, and they answer", async () => {
  enter("ada", "bruno", "chloe");
  room.mesh("bruno").callAll();
  await settled();
  assert.deepEqual(room.offers().map(({ from, to }) => [from, to]), [["bruno", "ada"], ["bruno", "chloe"]]);
  assert.ok(["ada", "chloe"].every((other) => room.mesh("bruno").isConnected(other)));
  room.leave("chloe");
  room.assertConnected("ada", "bruno");
});

test("all who call each other at once are connected, by one link each", async () => {
  enter("ada", "bruno", "chloe", "diego");
  room.isHeld = true;
  room.people.forEach(({ mesh }) => mesh.callAll());
  await settled();
  while (room.held.length > 0) {
    await room.deliver();
  }
  room.assertConnected("ada", "bruno", "chloe", "diego");
});

test("also if what they say arrives in another order", async () => {
  enter("ada", "bruno");
  room.isHeld = true;
  room.people.forEach(({ mesh }) => mesh.callAll());
  await settled();
  while (room.held.length > 0) {
    await room.deliver(room.held.splice(0).reverse());
  }
  room.assertConnected("ada", "bruno");
});

test("of two calls at once, that of the later name stands", async () => {
  enter("ada", "bruno");
  room.isHeld = true;
  room.people.forEach(({ mesh }) => mesh.callAll());
  await settled();
  const call = room.offers().find(({ from }) => from === "bruno").data.link;
  while (room.held.length > 0) {
    await room.deliver();
  }
  const answers = room.sent.filter(({ data }) => data.description?.type === "answer");
  assert.ok(answers.every(({ data }) => data.link === call));
});

test("who has been called does not call back", async () => {
  await connect("ada", "bruno");
  room.mesh("ada").callAll();
  await settled();
  assert.equal(room.offers().length, 1);
});

test("a call that is lost is made anew after six seconds", async () => {
  enter("ada", "bruno");
  room.isCut = true;
  room.mesh("ada").callAll();
  await settled();
  room.isCut = false;
  await room.pass(5);
  assert.equal(room.offers().length, 1);
  await room.pass(1);
  room.assertConnected("ada", "bruno");
  await room.pass(120);
  assert.equal(room.offers().length, 2, "nobody calls who is connected");
});

test("if who should call does not, the other one does after ten seconds", async () => {
  enter("ada", "bruno");
  await room.pass(9, "ada"); // bruno's page sleeps; of the two it would be the one to call
  assert.equal(room.offers().length, 0);
  await room.pass(1, "ada");
  room.assertConnected("ada", "bruno");
});

test("who cannot be reached is called less and less often", async () => {
  enter("ada", "bruno");
  room.isCut = true;
  room.mesh("bruno").callAll();
  await settled();
  const calls = [];
  for (let second = 1; second <= 200; second += 1) {
    const before = room.offers().length;
    await room.pass(1, "bruno");
    if (room.offers().length > before) {
      calls.push(second);
    }
  }
  assert.deepEqual(calls, [6, 18, 42, 90, 138, 186]);
});

test("a link that fails is repaired without losing it", async () => {
  await connect("ada", "bruno");
  const [link] = room.links("bruno");
  room.network.fail();
  room.network.isUp = true;
  await room.pass(1);
  room.assertConnected("ada", "bruno");
  assert.equal(room.links("bruno")[0], link);
});

test("if that does not help, it is made anew", async () => {
  await connect("ada", "bruno");
  const [link] = room.links("bruno");
  room.network.fail();
  await room.pass(2);
  assert.equal(room.links("bruno")[0], link);
  room.network.isUp = true;
  await room.pass(30);
  room.assertConnected("ada", "bruno");
  assert.notEqual(room.links("bruno")[0], link);
});

test("both may look for another way at once: the polite one gives way", async () => {
  await connect("ada", "bruno");
  room.network.fail();
  room.network.isUp = true;
  room.isHeld = true;
  for (const name of ["ada", "bruno"]) {
    room.links(name)[0].restartIce();
  }
  await settled();
  assert.equal(room.held.length, 2);
  while (room.held.length > 0) {
    await room.deliver();
  }
  room.assertConnected("ada", "bruno");
});

test("who is offline, or speaks to somebody who is, does nothing", async () => {
  enter("ada", "bruno");
  room.people.get("bruno").isOnline = false;
  await room.pass(60, "bruno");
  room.people.get("bruno").isOnline = true;
  room.tellWhoIsHere(["ada"]);
  await room.pass(60, "bruno");
  assert.equal(room.offers().length, 0);
});

test("a link outlives the other's lost connection to the server, but not its seat", async () => {
  await connect("ada", "bruno");
  room.tellWhoIsHere(["ada"]);
  assert.ok(room.mesh("bruno").isConnected("ada"));
  room.leave("ada");
  assert.equal(room.links("bruno").length, 0);
  assert.equal(room.mesh("bruno").streamOf("ada"), null);
});

test("what belongs to an older link, or is no signal at all, changes nothing", async () => {
  await connect("ada", "bruno");
  const [link] = room.links("ada");
  for (const data of [null, {}, { link: 7 }, { link: "old" }, { link: "old", candidate: { candidate: "a" } },
    { link: "old", description: { type: "answer", sdp: "b" } }]) {
    room.mesh("ada").take("bruno", data);
  }
  await settled();
  room.assertConnected("ada", "bruno");
  assert.equal(room.links("ada")[0], link);
  assert.deepEqual(link.candidates, []);
});

test("a call with a new id takes the place of the link before it", async () => {
  await connect("ada", "bruno");
  const [link] = room.links("ada");
  room.mesh("bruno").close();
  room.enter("bruno"); // the page was loaded again
  room.mesh("bruno").callAll();
  await settled();
  room.assertConnected("ada", "bruno");
  assert.notEqual(room.links("ada")[0], link);
});

test("a track that is switched on reaches links that are there, and those that come", async () => {
  enter("ada", "bruno");
  const track = { kind: "video" };
  room.mesh("ada").setTrack("video", track);
  room.mesh("bruno").callAll();
  await settled();
  const isVideo = ({ receiver }) => receiver.track.kind === "video";
  const videoOf = (name) => room.links(name)[0].getTransceivers().find(isVideo);
  assert.equal(videoOf("ada").sender.track, track);
  assert.equal(videoOf("ada").direction, "sendrecv");
  room.mesh("bruno").setTrack("video", track);
  await settled();
  assert.equal(videoOf("bruno").sender.track, track);
  room.mesh("bruno").setTrack("video", null);
  await settled();
  assert.equal(videoOf("bruno").sender.track, null);
});
