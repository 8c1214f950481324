# SPDX-License-Identifier: Apache-2.0
"""Cuts the power under a store, and checks what is left. Needs root, loop devices and XFS with reflinks.

    powerloss.py DIRECTORY --vecfs BINARY --disk ext4-ordered|ext4-writeback|xfs [options]
    powerloss.py DIRECTORY --probe                    can it be done here? If not, a line says why

The store is on a file system in an image file, the image on an XFS, and that in an image again, all of it below
DIRECTORY. FICLONE copies the image in one step, as it is at that moment: what the kernel has not yet written to the
disk is not in the copy. While powerload.py's writers change vectors, such cuts are made at random moments; later each
copy is mounted, vecfs on it, everything compared with the writers' logs (which are not on that disk), the store used,
unmounted and checked. Half of the copies lose power a second time, while vecfs recovers. A second session goes on
from one of the cuts, so that the next ones find a log with the past in it.

With --break-syncs LIBRARY the daemon runs with a library whose syncs do nothing: the judge must find what a cut loses.
"""
import argparse
import contextlib
import ctypes
import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

import powerload

FICLONE = 0x40049409
DISKS = {
    'ext4-ordered': (['mkfs.ext4', '-qF', '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard'], 'data=ordered', ''),
    'ext4-writeback': (['mkfs.ext4', '-qF', '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard'],
                       'data=writeback', ''),
    'xfs': (['mkfs.xfs', '-qfK'], 'noatime', 'nouuid'), # the copies have the original's UUID
}
# The last is libfuse's word, at times, for a mount that is taken away while a release is on its way.
EXPECTED = re.compile(r'vecfs: (serving .*|.*: refused: .*)|fuse: reading device: Software caused connection abort')
GIB = 1 << 30


class Failed(Exception):
    pass


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=120, **options)
    if done.returncode:
        raise Failed(f'{" ".join(command)}: exit status {done.returncode}\n{done.stdout}')
    return done.stdout


def die_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def unmount(path):
    if subprocess.run(['umount', path], stderr=subprocess.DEVNULL).returncode:
        subprocess.run(['umount', '-l', path], stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def mounted(source, path, options=''):
    """The loop device of a file system in an image goes away with its mount."""
    os.makedirs(path, exist_ok=True)
    run('mount', '-o', 'loop' + (',' + options if options else ''), source, path)
    try:
        yield path
    finally:
        unmount(path)


@contextlib.contextmanager
def platform(directory):
    """The folder of images, on an XFS with reflinks; in memory if there is plenty."""
    with contextlib.ExitStack() as stack:
        ground = f'{directory}/ground'
        os.makedirs(ground, exist_ok=True)
        with open('/proc/meminfo') as f:
            available = int(re.search(r'MemAvailable: *(\d+)', f.read())[1]) << 10
        if available > 8 * GIB:
            run('mount', '-t', 'tmpfs', '-o', 'size=6g', 'tmpfs', ground)
            stack.callback(unmount, ground)
        image = f'{ground}/outer.img'
        stack.callback(lambda: os.path.exists(image) and os.unlink(image))
        with open(image, 'wb') as f:
            f.truncate(12 * GIB) # sparse
        run('mkfs.xfs', '-qfK', '-m', 'reflink=1', image)
        yield stack.enter_context(mounted(image, f'{directory}/outer'))


def clone(source, target):
    """The power cut: the times before and after it."""
    with open(source, 'rb') as a, open(target, 'wb') as b:
        os.fdatasync(a) # what the disk already has; so that the copy is quick
        before = time.monotonic_ns()
        fcntl.ioctl(b, FICLONE, a.fileno())
        return before, time.monotonic_ns()


class Daemon:
    def __init__(self, test, store, mnt, options, preload=None):
        self.test, self.store, self.mnt = test, store, mnt
        os.makedirs(mnt, exist_ok=True)
        self.log = f'{test.directory}/daemon.log'
        environment = dict(os.environ, LD_PRELOAD=preload) if preload else None
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen([test.args.vecfs, 'mount', '-f', '-o', options, store, mnt],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_us,
                                            env=environment)

    def said(self):
        with open(self.log) as f:
            return f.read()

    def wait_until_it_serves(self):
        end = time.monotonic() + 60
        while 'vecfs: serving ' not in self.said():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f'the daemon does not serve (exit status {self.process.returncode}):\n{self.said()}')
            time.sleep(.002)

    def stop(self):
        run(self.test.args.vecfs, 'umount', self.mnt)
        status = self.process.wait(60)
        unexpected = [line for line in self.said().splitlines() if not EXPECTED.fullmatch(line)]
        if status or unexpected:
            raise Failed(f'the daemon: exit status {status}, unexpected messages: {unexpected}')

    def errors(self):
        with open(f'{self.mnt}/.vecfs/metrics') as f:
            return re.findall(r'^vecfs_(?:checksum_errors_total|errors_total|poisoned) [^0].*', f.read(), re.M)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if error[0] and self.process.poll() is not None:
            print(f'the daemon has ended with {self.process.returncode}')
        if error[0]:
            # Incomplete vectors are what the writers do all the time.
            print(''.join(line + '\n' for line in self.said().splitlines() if ': refused: got ' not in line), flush=True)
            if os.environ.get('POWERLOSS_SHOW'):
                subprocess.run(['sh', '-c', os.environ['POWERLOSS_SHOW'], 'sh', self.store, self.mnt])
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        unmount(self.mnt)


class Cut:
    def __init__(self, image, before, after):
        self.image, self.before, self.after, self.reboots = image, before, after, 0


class Test:
    def __init__(self, args, directory):
        self.args, self.directory = args, directory
        self.rng = random.Random(args.seed)
        self.mkfs, self.options, self.copy_options = DISKS[args.disk]
        self.sum = dict(sessions=0, cuts=0, second_cuts=0, acknowledged=0, durable=0, kept=0, lost=0, vectors=0)
        self.longest_us = 0

    def daemon_options(self, commit):
        on = self.args.uring and self.rng.random() < .5
        return f'io_uring={"on" if on else "off"},commit={commit}'

    def session(self, number, platform, cuts, seconds, start_from=None):
        """Load and cuts; the cuts, what the writers logged, and the state at the start."""
        live = f'{platform}/live.img'
        self.dim = self.dim if start_from else self.rng.choice(self.args.dims)
        commit = self.rng.choice((5, 50, 60000, 60000))
        options = self.daemon_options(commit)
        self.what = f'seed {self.args.seed} session {number}: {self.args.disk}, {options}, dim={self.dim}'
        print(f'# {self.what}{", goes on after a cut" if start_from else ""}', flush=True)
        if start_from:
            os.rename(start_from, live)
        else:
            with open(live, 'wb') as f:
                f.truncate(2 * GIB)
            run(*self.mkfs, live)
        pids = []
        with mounted(live, f'{self.directory}/live', self.options) as disk, \
                Daemon(self, f'{disk}/store', f'{self.directory}/mnt', options, self.args.break_syncs) as daemon:
            daemon.wait_until_it_serves()
            for name in () if start_from else powerload.SHARED:
                os.mkdir(f'{daemon.mnt}/{name}')
                with open(f'{daemon.mnt}/{name}/.vecfs/schema', 'w') as f:
                    f.write(f'dim={self.dim}\n')
            self.tidy(daemon.mnt)
            sync(daemon.mnt)
            base = powerload.look(daemon.mnt, self.dim)
            parts, rest = powerload.split(base, self.args.writers)
            logs = [f'{self.directory}/log.{number}.{n}' for n in range(self.args.writers)]
            bulk = 3_000_000 // (4 * self.dim)
            quiet = self.rng.random() < .4 or bool(self.args.break_syncs)
            try:
                for n, log in enumerate(logs):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(log)
                    pids.append(powerload.start_writer(
                        mnt=daemon.mnt, log=log, number=n, seed=self.rng.randrange(1 << 30), dim=self.dim,
                        version=number << 22, state=parts[n],
                        sync=self.rng.choice((.002, .02, .1)) if not quiet else .0005,
                        bulk=min(bulk, 2000), quiet=quiet))
                agitator = None
                if self.rng.random() < .7 and not self.args.break_syncs:
                    agitator = powerload.fork(lambda: powerload.agitate(f'{disk}/store', self.rng.random()))
                    pids.append(agitator)
                taken = self.take_cuts(live, platform, cuts, seconds, pids)
                self.stop_writers(pids, agitator)
            finally:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, 0)
            histories = [powerload.History(log) for log in logs]
            # The last word, with nothing lost: this also shows that the judge knows what the writers do.
            now = time.monotonic_ns()
            verdict = powerload.Verdict(histories, (parts, rest), now, now)
            verdict.least = [len(h.ops) for h in histories]
            verdict.judge(powerload.look(daemon.mnt, self.dim))
            if daemon.errors():
                raise Failed(f'metrics: {daemon.errors()}')
            daemon.stop()
            run(self.args.vecfs, 'check', daemon.store)
        os.unlink(live)
        self.sum['sessions'] += 1
        slack = 3000 # of the promise about time, for a busy machine
        volatile_ns = (commit + slack) * 1_000_000 if commit < 1000 else None
        return taken, histories, (parts, rest), volatile_ns

    def take_cuts(self, live, platform, cuts, seconds, pids):
        taken = []
        end = time.monotonic() + seconds
        moments = sorted(self.rng.uniform(min(.5, seconds / 4), seconds) for _ in range(cuts))
        for n, moment in enumerate(moments):
            time.sleep(max(0, end - seconds + moment - time.monotonic()))
            self.all_alive(pids)
            cut = Cut(f'{platform}/cut{n}.img', 0, 0)
            cut.before, cut.after = clone(live, cut.image)
            self.longest_us = max(self.longest_us, (cut.after - cut.before) // 1000)
            taken.append(cut)
        return taken

    @staticmethod
    def all_alive(pids):
        for pid in pids:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                raise Failed(f'a writer failed: status {status:#x}')

    @staticmethod
    def stop_writers(pids, agitator):
        for pid in list(pids):
            os.kill(pid, signal.SIGTERM)
        while pids:
            pid = pids[0]
            status = os.waitpid(pid, 0)[1]
            pids.pop(0)
            if status and pid != agitator:
                raise Failed(f'a writer failed: status {status:#x}')

    def verify(self, cut, name, histories, base, volatile_ns):
        """Brings the disk up again, in half of the cases with a second cut while vecfs recovers."""
        again = None
        options = ','.join(filter(None, (self.options, self.copy_options)))
        with mounted(cut.image, f'{self.directory}/copy', options) as disk, \
                Daemon(self, f'{disk}/store', f'{self.directory}/copymnt', self.daemon_options(60000)) as daemon:
            if cut.reboots == 0 and self.rng.random() < .5:
                time.sleep(self.rng.choice((.002, .01, .02, .04, .1)) * self.rng.random())
                again = Cut(cut.image.replace('.img', '-again.img'), cut.before, cut.after)
                again.reboots = 1
                clone(cut.image, again.image)
            daemon.wait_until_it_serves()
            found = powerload.look(daemon.mnt, self.dim)
            verdict = powerload.Verdict(histories, base, cut.before, cut.after, volatile_ns)
            verdict.judge(found)
            self.use(daemon.mnt)
            if daemon.errors():
                raise Failed(f'metrics: {daemon.errors()}')
            daemon.stop()
            run(self.args.vecfs, 'check', daemon.store)
        os.unlink(cut.image)
        self.sum['second_cuts' if cut.reboots else 'cuts'] += 1
        self.sum['vectors'] += len(found)
        if not cut.reboots:
            for what in ('acknowledged', 'durable', 'kept', 'lost'):
                self.sum[what] += getattr(verdict, what)
        print(f'#   {name}: {len(found)} found; of {verdict.acknowledged} changes acknowledged {verdict.durable} '
              f'surely durable, {verdict.kept} kept, {verdict.lost} lost', flush=True)
        if again:
            self.verify(again, name + ' and again', histories, base, volatile_ns)

    @staticmethod
    def tidy(mnt):
        """Batches that were open when the power went are gone or can be dropped."""
        for name in os.listdir(mnt):
            tx = f'{mnt}/{name}/.vecfs/tx'
            for batch in os.listdir(tx):
                shutil.rmtree(f'{tx}/{batch}')

    def use(self, mnt):
        """The recovered store takes changes."""
        self.tidy(mnt)
        data = powerload.make(0, 1, 0, powerload.born('a', 'later'), self.dim)
        with open(f'{mnt}/a/later', 'wb') as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.rename(f'{mnt}/a/later', f'{mnt}/b/later')
        with open(f'{mnt}/b/later', 'rb') as f:
            assert f.read() == data
        for name in os.listdir(f'{mnt}/a')[::3]:
            os.unlink(f'{mnt}/a/{name}')
        os.mkdir(f'{mnt}/b/.vecfs/tx/later')
        with open(f'{mnt}/b/.vecfs/tx/later/.vecfs/vectors.f32', 'wb') as f:
            f.write(data * 3)
        os.rename(f'{mnt}/b/.vecfs/tx/later', f'{mnt}/b/.vecfs/commit/later')
        with open(f'{mnt}/b/2', 'rb') as f:
            assert f.read() == data

    def all(self):
        args = self.args
        with platform(self.directory) as images:
            end = time.monotonic() + args.seconds
            number, start_from = 0, None
            while number < args.sessions or time.monotonic() < end:
                number += 1
                cuts, histories, base, volatile_ns = self.session(number, images, args.cuts, args.load, start_from)
                start_from = None
                if number % 3:
                    start_from = f'{images}/next.img'
                    clone(self.rng.choice(cuts).image, start_from)
                for n, cut in enumerate(cuts):
                    self.verify(cut, f'cut {n + 1}', histories, base, volatile_ns)
                for n in range(args.writers):
                    os.unlink(f'{self.directory}/log.{number}.{n}')
        s = self.sum
        print(f'# {args.disk}: {s["sessions"]} sessions, {s["cuts"]} cuts and {s["second_cuts"]} in recoveries (the '
              f'longest took {self.longest_us / 1000:.1f} ms), {s["vectors"]} vectors read; of {s["acknowledged"]} '
              f'acknowledged changes {s["durable"]} surely durable, {s["kept"]} kept, {s["lost"]} lost', flush=True)


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def probe(directory):
    """Nothing, or why it cannot be done here."""
    if os.geteuid():
        return 'needs root'
    for tool in ('mkfs.xfs', 'mkfs.ext4', 'mount'):
        if not shutil.which(tool):
            return f'no {tool} here'
    try:
        with platform(directory) as images:
            for name in ('a', 'b'):
                with open(f'{images}/{name}', 'wb') as f:
                    f.write(b'x' * 8192)
            clone(f'{images}/a', f'{images}/b')
    except (Failed, OSError) as e:
        return f'no loop device, XFS or reflink here: {str(e).splitlines()[-1]}'
    return ''


def main():
    p = argparse.ArgumentParser()
    p.add_argument('directory')
    p.add_argument('--probe', action='store_true')
    p.add_argument('--vecfs')
    p.add_argument('--disk', choices=DISKS)
    p.add_argument('--uring', action='store_true', help='half of the mounts by io_uring')
    p.add_argument('--seed', type=int, default=int.from_bytes(os.urandom(3), 'little'))
    p.add_argument('--seconds', type=float, default=0, help='begin sessions for so long')
    p.add_argument('--sessions', type=int, default=2, help='at least so many')
    p.add_argument('--cuts', type=int, default=2, help='in each session')
    p.add_argument('--load', type=float, default=3, help='seconds of load in each session')
    p.add_argument('--writers', type=int, default=3)
    p.add_argument('--dims', type=lambda s: [int(d) for d in s.split(',')], default=[16, 128, 768, 768, 1100, 3000])
    p.add_argument('--break-syncs')
    args = p.parse_args()
    args.directory = os.path.abspath(args.directory)
    os.makedirs(args.directory, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    if args.probe:
        why = probe(args.directory)
        print(why, end='')
        return bool(why)
    test = Test(args, args.directory)
    try:
        test.all()
    except (Failed, AssertionError) as e:
        traceback.print_exc()
        print(f'FAILED: {test.what}: {e}', flush=True)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
