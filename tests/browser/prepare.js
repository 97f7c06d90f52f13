// What every page of a test is given before its own code runs: a camera of its own, and a memory for explain.js.
//
// Chromium pretends to have ten cameras. One that four pages share now and then stopped giving pictures on a busy
// machine, presumably because each page held some of its few buffers; with one each that was not seen again. Pictures
// of the second are shown but never sent, presumably for their format.

const CAMERA = [0, 2, 3, 4, 5, 6, 7, 8, 9][__PERSON__];

const open = MediaDevices.prototype.getUserMedia;
MediaDevices.prototype.getUserMedia = async function (constraints) {
  const camera = (await this.enumerateDevices()).filter(({ kind }) => kind === "videoinput")[CAMERA];
  if (!constraints.video || !camera?.deviceId) {
    return open.call(this, constraints); // no camera is wanted, or none may be had
  }
  return open.call(this, { ...constraints, video: { deviceId: { exact: camera.deviceId }, ...constraints.video } });
};

window.connections = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...options) {
    super(...options);
    window.connections.push({ connection: this, madeAt: Math.round(performance.now()) });
  }
};
