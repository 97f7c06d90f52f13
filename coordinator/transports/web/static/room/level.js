// How loud a microphone is, as somebody who speaks into it wants to see it.

const EVERY_MS = 100;
// What an ear takes for silence and for loud, in decibels below the loudest that there is.
const SILENCE_DB = -60;
const LOUD_DB = -12;

// Calls heard(level), from 0 to 1, ten times a second. Returns the way to stop.
export function listen(track, heard) {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  const source = context.createMediaStreamSource(new MediaStream([track]));
  source.connect(analyser); // and to nothing else: nobody wants to hear themselves
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    if (context.state === "suspended") {
      context.resume(); // browsers begin only after a click
    }
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    const decibels = 10 * Math.log10(power + 1e-12);
    heard(Math.min(1, Math.max(0, (decibels - SILENCE_DB) / (LOUD_DB - SILENCE_DB))));
  }, EVERY_MS);
  return () => {
    clearInterval(timer);
    source.disconnect();
    context.close();
  };
}
