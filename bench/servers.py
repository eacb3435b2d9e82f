# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
"""The two servers: set up in directories of their own, started, stopped."""
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import textwrap
import time

import procs

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOST = '127.0.0.1'
DOMAIN = 'bench.test'
BIG = f'big@{DOMAIN}'
STANDARD_PORTS = {'smtp': 25, 'submission': 587, 'submissions': 465, 'lmtp': 24,
                  'imap': 143, 'imaps': 993, 'pop3': 110, 'pop3s': 995}
TLS_FROM_THE_START = {'submissions', 'imaps', 'pop3s'}
ANSWER_SECONDS = 30
VMAIL = 6000  # uid and gid of the mail, as with virtual users; need not exist in passwd


class BenchError(Exception):
    """Something that ends the run: the message says what."""


def run(argv, **more):
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          **more)
    if done.returncode:
        raise BenchError(f'{" ".join(str(a) for a in argv)}: status {done.returncode}\n'
                         + done.stdout.decode(errors='replace').strip())
    return done.stdout.decode(errors='replace')


def free_port_base():
    """N such that N + each standard port is free, below the ports the kernel gives to clients."""
    for base in range(11000, 31000, 1000):
        sockets = []
        try:
            for port in STANDARD_PORTS.values():
                s = socket.socket()
                sockets.append(s)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((HOST, base + port))
            return base
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()
    raise BenchError('no free ports')


def free_ports(n):
    sockets = []
    try:
        for port in range(31900, 32700):
            if len(sockets) == n:
                break
            s = socket.socket()
            try:
                s.bind((HOST, port))
                sockets.append(s)
            except OSError:
                s.close()
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def _greets(port, with_tls):
    with socket.create_connection((HOST, port), timeout=ANSWER_SECONDS) as s:
        if with_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            s = context.wrap_socket(s)
        greeting = s.recv(512)
        if not greeting.startswith((b'220', b'* OK', b'+OK')):
            raise BenchError(f'port {port} says {greeting!r}')


class Server:
    """What the rows need. ports: by the names of STANDARD_PORTS."""
    name = ''

    def __init__(self, directory, base):
        self.dir = pathlib.Path(directory)
        self.mail = self.dir / 'mail'
        self.ports = {name: base + port for name, port in STANDARD_PORTS.items()}
        self.children = []

    @property
    def roots(self):
        return [child.pid for child in self.children]

    def launch(self):
        raise NotImplementedError

    def relay_mode(self, sink, dead, key=None):
        """Settings for the next start: where mail for d*.test and dead*.test goes; None: nowhere. key: signs it."""
        raise NotImplementedError

    def maildir(self, address):
        """Where it belongs, with the owner; only its parents are made."""
        local, domain = address.split('@')
        path = self.mail / domain / local / 'Maildir'
        for part in (self.mail / domain, self.mail / domain / local):
            if not part.exists():
                part.mkdir(mode=0o700)
                os.chown(part, VMAIL, VMAIL)
        return path, VMAIL, VMAIL

    def start(self):
        """Returns seconds until every listener has greeted."""
        begin = time.monotonic()
        self.launch()
        for name, port in self.ports.items():
            while True:
                try:
                    _greets(port, name in TLS_FROM_THE_START)
                    break
                except OSError as why:
                    for child in self.children:
                        if child.poll() is not None:
                            raise BenchError(f'{self.name} ended at once; see {self.dir}') from why
                    if time.monotonic() - begin > ANSWER_SECONDS:
                        raise BenchError(f'{self.name} does not answer on port {port} ({name})') from why
                    time.sleep(0.002)
        return time.monotonic() - begin

    def stop(self):
        for child in reversed(self.children):
            if not procs.stop(child):
                print(f'{self.name}: process {child.pid} had to be killed', flush=True)
        self.children = []


class PostfixDovecot(Server):
    """Debian's packages with files of their own. Settings are the defaults, except for what makes
    them a mail server of virtual users, paths, and limits that thousands of connections need."""
    name = 'postfix+dovecot'

    def __init__(self, directory, base, run_dir, passwords):
        super().__init__(directory, base)
        self.run_dir = pathlib.Path(run_dir)  # short: for Unix sockets
        self.config = self.dir / 'postfix'
        self.mail = self.dir / 'mail'
        self.users = self.dir / 'users'
        self.dir.mkdir(mode=0o755)
        self.mail.mkdir(mode=0o755)
        os.chown(self.mail, VMAIL, VMAIL)
        self._certificate()
        self._users(passwords)
        self._dovecot()
        self.idle_mode(None)
        self._postfix(passwords)

    def versions(self):
        return {'postfix': run(['/usr/sbin/postconf', '-c', self.config, '-h', 'mail_version']).strip(),
                'dovecot': run(['/usr/sbin/dovecot', '--version']).strip()}

    def _certificate(self):
        run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
             '-keyout', self.dir / 'key.pem', '-out', self.dir / 'cert.pem', '-days', '30',
             '-subj', f'/CN=mail.{DOMAIN}'])

    def _dovecot(self):
        conf = self.dir / 'dovecot.conf'
        base = self.run_dir / 'dovecot'
        state = self.run_dir / 'dovecot-state'
        state.mkdir(mode=0o755)
        ports = self.ports
        text = f'''
            instance_name = pabal-bench
            base_dir = {base}
            state_dir = {state}
            log_path = {self.dir}/dovecot.log
            protocols = imap pop3 lmtp
            listen = {HOST}
            ssl = yes
            ssl_cert = <{self.dir}/cert.pem
            ssl_key = <{self.dir}/key.pem
            auth_mechanisms = plain login
            mail_location = maildir:~/Maildir
            first_valid_uid = 1
            passdb {{
              driver = passwd-file
              args = scheme=SHA512-CRYPT username_format=%u {self.users}
            }}
            namespace inbox {{
              inbox = yes
              mailbox Drafts {{
                special_use = \\Drafts
              }}
              mailbox Junk {{
                special_use = \\Junk
              }}
              mailbox Trash {{
                special_use = \\Trash
              }}
              mailbox Sent {{
                special_use = \\Sent
              }}
            }}
            # limits that thousands of connections need
            mail_max_userip_connections = 10000
            default_client_limit = 13000
            service imap-login {{
              process_limit = 12000
              inet_listener imap {{
                port = {ports["imap"]}
              }}
              inet_listener imaps {{
                port = {ports["imaps"]}
              }}
            }}
            service pop3-login {{
              inet_listener pop3 {{
                port = {ports["pop3"]}
              }}
              inet_listener pop3s {{
                port = {ports["pop3s"]}
              }}
            }}
            service imap {{
              process_limit = 12000
            }}
            service lmtp {{
              inet_listener lmtp {{
                port = {ports["lmtp"]}
              }}
              unix_listener lmtp {{
                mode = 0600
                user = postfix
                group = postfix
              }}
            }}
            service auth {{
              unix_listener auth-postfix {{
                mode = 0660
                user = postfix
                group = postfix
              }}
            }}
            !include {self.dir}/mode.conf
            '''
        conf.write_text(textwrap.dedent(text))

    IDLE_MODES = {
        # a login process for each TLS connection, which stays, and an imap process
        'default': '',
        # login processes shared, as its documentation advises for busy servers
        'shared': '''
            service imap-login {
              service_count = 0
              process_min_avail = 2
              process_limit = 2
            }
            ''',
        # and connections in IDLE handed to one process
        'hibernate': '''
            imap_hibernate_timeout = 1s
            service imap-hibernate {
              unix_listener imap-hibernate {
                mode = 0660
                group = $default_internal_group
              }
            }
            service imap {
              extra_groups = $default_internal_group
              unix_listener imap-master {
                user = $default_internal_user
              }
            }
            ''',
    }

    def idle_mode(self, name):
        """Settings for the next start; hibernate comes with shared. For idle connections each account
        has a user id of its own, as the kernel allows 128 inotify instances to one by default, and
        Dovecot lets nobody hibernate without."""
        names = {'shared': ['shared'], 'hibernate': ['shared', 'hibernate']}.get(name, [])
        if name is None:
            userdb = f'driver = static\n  args = uid={VMAIL} gid={VMAIL} home={self.mail}/%d/%n'
        else:
            userdb = f'driver = passwd-file\n  args = username_format=%u {self.users}'
        (self.dir / 'mode.conf').write_text(f'userdb {{\n  {userdb}\n}}\n'
                                            + ''.join(textwrap.dedent(self.IDLE_MODES[n]) for n in names))

    def _users(self, passwords):
        self.users.touch(mode=0o640)
        shutil.chown(self.users, 'root', 'dovecot')
        lines = []
        for i, (address, hashed) in enumerate(passwords.items(), VMAIL + 1):
            home = self.dir / 'idle' / address
            home.mkdir(mode=0o700, parents=True)
            os.chown(home, i, i)
            lines.append(f'{address}:{hashed}:{i}:{i}::{home}\n')
        self.users.write_text(''.join(lines))

    def _postfix(self, passwords):
        self.config.mkdir(mode=0o755)
        queue, data = self.dir / 'spool', self.dir / 'data'
        queue.mkdir(mode=0o755)
        data.mkdir(mode=0o700)
        shutil.chown(data, 'postfix', 'root')
        settings = f'''
            compatibility_level = 3.6
            queue_directory = {queue}
            data_directory = {data}
            daemon_directory = /usr/lib/postfix/sbin
            command_directory = /usr/sbin
            mail_owner = postfix
            setgid_group = postdrop
            maillog_file = {self.dir}/postfix.log
            maillog_file_prefixes = {self.dir}
            myhostname = mail.{DOMAIN}
            mydestination = localhost
            mynetworks = 127.0.0.0/8
            inet_interfaces = {HOST}
            inet_protocols = ipv4
            alias_maps =
            alias_database =
            biff = no
            append_dot_mydomain = no
            recipient_delimiter = +
            mailbox_size_limit = 0
            smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
            virtual_mailbox_domains = {DOMAIN}
            virtual_mailbox_maps = hash:{self.config}/accounts
            virtual_transport = lmtp:unix:{self.run_dir}/dovecot/lmtp
            smtpd_tls_cert_file = {self.dir}/cert.pem
            smtpd_tls_key_file = {self.dir}/key.pem
            smtpd_tls_security_level = may
            smtpd_sasl_type = dovecot
            smtpd_sasl_path = {self.run_dir}/dovecot/auth-postfix
            smtpd_sasl_auth_enable = yes
            transport_maps = hash:{self.config}/transport
            '''
        (self.config / 'main.cf').write_text(textwrap.dedent(settings))
        services = f'''
            {HOST}:{self.ports["smtp"]} inet n - n - - smtpd
            {HOST}:{self.ports["submission"]} inet n - n - - smtpd
              -o smtpd_tls_security_level=encrypt
            {HOST}:{self.ports["submissions"]} inet n - n - - smtpd
              -o smtpd_tls_wrappermode=yes
            pickup unix n - n 60 1 pickup
            cleanup unix n - n - 0 cleanup
            qmgr unix n - n 300 1 qmgr
            tlsmgr unix - - n 1000? 1 tlsmgr
            rewrite unix - - n - - trivial-rewrite
            bounce unix - - n - 0 bounce
            defer unix - - n - 0 bounce
            trace unix - - n - 0 bounce
            verify unix - - n - 1 verify
            flush unix n - n 1000? 0 flush
            proxymap unix - - n - - proxymap
            proxywrite unix - - n - 1 proxymap
            smtp unix - - n - - smtp
            relay unix - - n - - smtp
            showq unix n - n - - showq
            error unix - - n - - error
            retry unix - - n - - error
            discard unix - - n - - discard
            local unix - n n - - local
            virtual unix - n n - - virtual
            lmtp unix - - n - - lmtp
            anvil unix - - n - 1 anvil
            scache unix - - n - 1 scache
            postlog unix-dgram n - n - 1 postlogd
            '''
        (self.config / 'master.cf').write_text(textwrap.dedent(services))
        (self.config / 'accounts').write_text(''.join(f'{address} ok\n' for address in passwords))
        run(['/usr/sbin/postmap', '-c', self.config, f'hash:{self.config}/accounts'])
        self.relay_mode(None, None)
        run(['/usr/sbin/postfix', '-c', self.config, 'check'])

    def relay_mode(self, sink, dead, key=None):
        self.signer = key and self._opendkim(key)
        run(['/usr/sbin/postconf', '-c', self.config, '-e',
             f'smtpd_milters = {"unix:" + str(self.run_dir / "opendkim" / "socket") if key else ""}'])
        rows = [(name, port) for name, port in (('d', sink), ('dead', dead)) if port]
        (self.config / 'transport').write_text(''.join(f'{name}{i}.test smtp:[{HOST}]:{port}\n'
                                                       for name, port in rows for i in range(10)))
        run(['/usr/sbin/postmap', '-c', self.config, f'hash:{self.config}/transport'])

    def _opendkim(self, key):
        """As in its documentation, for mail from this host; a message that it cannot sign is not taken."""
        (self.run_dir / 'opendkim').mkdir(mode=0o755, exist_ok=True)
        shutil.chown(self.run_dir / 'opendkim', 'postfix', 'root')
        own = self.dir / 'opendkim.pem'
        shutil.copyfile(key, own)
        own.chmod(0o600)
        shutil.chown(own, 'postfix', 'root')
        conf = self.dir / 'opendkim.conf'
        conf.write_text(f'Mode s\nDomain {DOMAIN}\nSelector s\nKeyFile {own}\nSocket local:{self.run_dir}/opendkim/socket\n'
                        'Canonicalization relaxed/relaxed\nOversignHeaders From\nUserID postfix\nUMask 007\n'
                        'RequireSafeKeys no\nOn-Default tempfail\n')
        return ['/usr/sbin/opendkim', '-f', '-x', conf]

    def launch(self):
        log = self.dir / 'start.log'
        self.children = [procs.start(self.signer, log)] if self.signer else []
        self.children += [
            procs.start(['/usr/sbin/dovecot', '-F', '-c', self.dir / 'dovecot.conf'], log),
            procs.start(['/usr/lib/postfix/sbin/master', '-c', self.config, '-d'], log),
        ]


class Pabal(Server):
    """build/pabal as quickstart sets it up, but with a user for each role and the default journal, as
    an installed one has them."""
    name = 'pabal'
    IDLE_MODES = {'default': ''}
    USERS = {'vmail': VMAIL, 'smtp': VMAIL + 1, 'login': VMAIL + 2, 'auth': VMAIL + 3, 'keys': VMAIL + 4,
             'log': VMAIL + 5, 'dns': VMAIL + 6, 'relay': VMAIL + 7}

    def __init__(self, directory, base, passwords):
        super().__init__(directory, base)
        self.program = ROOT / 'build' / 'pabal'
        self.config = self.dir / 'pabal.conf'
        self.mail = self.dir / 'data' / 'mail'
        run([self.program, 'quickstart', '--dir', self.dir, '--domain', DOMAIN, '--port-base', base, '--no-start'])
        self._configure()
        for address, hashed in passwords.items():
            run([self.program, 'account', 'add', address, '--hash-stdin', '--config', self.config],
                input=(hashed + '\n').encode())
        for part in (self.dir / 'data' / 'directory', *(self.dir / 'data' / 'directory').iterdir()):
            os.chown(part, self.USERS['auth'], self.USERS['auth'])

    def _configure(self):
        made = re.sub(r'(?ms)^(process|journal) \{.*?^\}\n', '', self.config.read_text())
        users = ''.join(f'\tuser_{role} = "{uid}:{uid}"\n' for role, uid in self.USERS.items())
        self.config.write_text(f'{made}\n# of the benchmark\nprocess {{\n{users}}}\n'
                               'imap {\n\tmax_connections_per_source = 10000\n}\n')

    def cli(self, *words):
        return run([self.program, *words, '--config', self.config])

    def relay_mode(self, sink, dead, key=None, queued=False):
        base = self.config.read_text().split('\n# of the relay row\n')[0]
        more = ''
        if sink:
            routes = [f'"{name}{i}.test [{HOST}]:{port}"' for name, port in (('d', sink), ('dead', dead))
                      for i in range(10)]
            more = '\n# of the relay row\nsmtp { rate_messages = 0  rate_recipients = 0  rate_account_recipients = 0 }\n' \
                'queue { brake_recipients = 0 }\n' \
                'relay { enabled = yes }\nroutes = {' + ', '.join(routes) + '}\n'
        if queued:  # by MX, and no name server answers
            more = f'\n# of the relay row\nrelay {{ enabled = yes }}\ndns {{ servers = {{"{HOST}:{dead}"}} }}\n'
        if key:
            more += f'dkim {{ keys = {{"{DOMAIN} s {key} sign=always"}} }}\n'
        self.config.write_text(base + more)

    def versions(self):
        return {'pabal': run([self.program, 'version']).split('\n', maxsplit=1)[0].strip()}

    def idle_mode(self, name):
        pass

    def launch(self):
        self.children = [procs.start([self.program, 'serve', '--config', self.config], self.dir / 'start.log')]
