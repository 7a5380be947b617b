# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_nlbctl_global_optspecs
    string join \n json run-dir= h/help V/version
end

function __fish_nlbctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_nlbctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_nlbctl_using_subcommand
    set -l cmd (__fish_nlbctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c nlbctl -n "__fish_nlbctl_needs_command" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_needs_command" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -s V -l version -d 'Print version'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "addif" -d 'Serve a cluster on an interface; the first one starts or joins the cluster'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "add-interface" -d 'Serve a cluster on an interface; the first one starts or joins the cluster'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "delif" -d 'Serve a cluster no longer on an interface; with the last one the cluster is left'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "remove-interface" -d 'Serve a cluster no longer on an interface; with the last one the cluster is left'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "status" -d 'Say whether all is well, and why not'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "nodes" -d 'List the nodes, as this node sees them'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "buckets" -d 'Show which node has which buckets'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "clients" -d 'List the clients that this node keeps'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "explain" -d 'Say which node takes a client, and why'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "set_weight" -d 'Set this node\'s weight by hand'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "weight_mode" -d 'Choose where this node\'s weight comes from'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "leave" -d 'Hand every client over and leave the cluster, until reload or the daemon\'s next start'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "drain" -d 'Take no new clients and keep the old ones'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "restart-hold" -d 'Announce that the daemon is about to be restarted, so that no client notices'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "undrain" -d 'Take new clients again'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "events" -d 'Print what happened, and why, in order; with --follow, go on as things happen'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "top" -d 'Watch the cluster on the whole screen'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "preflight" -d 'Say whether this server and its network are fit for a cluster, and what to do'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "key" -d 'Bring the cluster\'s key to other servers, or replace it without interruption'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "completions" -d 'Print completions for a shell'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "check-config" -d 'Check the configuration, or another file as if it were that, and apply nothing'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "metrics" -d 'Print the daemon\'s metrics in the OpenMetrics text format'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "reload" -d 'Have the daemon read its configuration again; nothing changes unless all of it is valid'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "debug" -d 'For bug reports'
complete -c nlbctl -n "__fish_nlbctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand addif" -l cluster -d 'The cluster: the only one there is, or a new one called nlb0' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand addif" -l address -d 'A service address; may be given several times' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand addif" -l mode -d 'How frames for the service address reach every server [default: unicast]' -r -f -a "unicast\t'A unicast address that switches never learn and therefore flood'
multicast\t'A multicast address that switches flood'
igmp\t'An IGMP group: a snooping switch sends to members only'"
complete -c nlbctl -n "__fish_nlbctl_using_subcommand addif" -l id -d 'The number of a new cluster, 1 to 65535, the same on every server [default: made of the name]' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand addif" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand addif" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand addif" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand add-interface" -l cluster -d 'The cluster: the only one there is, or a new one called nlb0' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand add-interface" -l address -d 'A service address; may be given several times' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand add-interface" -l mode -d 'How frames for the service address reach every server [default: unicast]' -r -f -a "unicast\t'A unicast address that switches never learn and therefore flood'
multicast\t'A multicast address that switches flood'
igmp\t'An IGMP group: a snooping switch sends to members only'"
complete -c nlbctl -n "__fish_nlbctl_using_subcommand add-interface" -l id -d 'The number of a new cluster, 1 to 65535, the same on every server [default: made of the name]' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand add-interface" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand add-interface" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand add-interface" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand delif" -l cluster -d 'The cluster, if the interface has several' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand delif" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand delif" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand delif" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand remove-interface" -l cluster -d 'The cluster, if the interface has several' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand remove-interface" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand remove-interface" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand remove-interface" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand status" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand status" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand nodes" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand nodes" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand nodes" -s h -l help -d 'Print help'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand buckets" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand buckets" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand buckets" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand clients" -l limit -d 'At most so many, up to 10000' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand clients" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand clients" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand clients" -s h -l help -d 'Print help'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand explain" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand explain" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand explain" -s h -l help -d 'Print help'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand set_weight" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand set_weight" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand set_weight" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand weight_mode" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand weight_mode" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand weight_mode" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand leave" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand leave" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand leave" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand drain" -l timeout -d 'Leave after so many seconds, even if clients remain; earlier as soon as nobody is left' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand drain" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand drain" -l wait -d 'Look on until no client is left (exit status 0), the time is over (6), or the node drains no longer (7). Interrupting ends the looking on, and not the drain'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand drain" -l force -d 'Also if no other node is active: nobody takes new clients then'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand drain" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand restart-hold" -l hold -d 'How long the others keep this node, 1 to 65 s; at least twice dead-after' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand restart-hold" -l unit -d 'The unit to look at' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand restart-hold" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand restart-hold" -l if-restarting -d 'Only if systemd is restarting the unit nlbd.service'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand restart-hold" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand restart-hold" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand undrain" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand undrain" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand undrain" -s h -l help -d 'Print help'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand events" -s n -l lines -d 'Only the last so many of the past' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand events" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand events" -s f -l follow -d 'Begin with the last ten, and go on until interrupted'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand events" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand top" -s i -l interval -d 'Ask the daemon so often' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand top" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand top" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand preflight" -l interface -d 'The interface to the other servers [default: those of the cluster, or all]' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand preflight" -l address -d 'A service address; may be given several times' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand preflight" -l mode -d 'How frames for the service address reach every server [default: the cluster\'s, or unicast]' -r -f -a "unicast\t'A unicast address that switches never learn and therefore flood'
multicast\t'A multicast address that switches flood'
igmp\t'An IGMP group: a snooping switch sends to members only'"
complete -c nlbctl -n "__fish_nlbctl_using_subcommand preflight" -l id -d 'The number of the cluster, of which its MAC is made' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand preflight" -l listen -d 'How long to listen for an IGMP querier; for servers it is 3 at most' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand preflight" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand preflight" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand preflight" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and not __fish_seen_subcommand_from export import rotate help" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and not __fish_seen_subcommand_from export import rotate help" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and not __fish_seen_subcommand_from export import rotate help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and not __fish_seen_subcommand_from export import rotate help" -f -a "export" -d 'Write the key to standard output, for `nlbctl key import` on another server'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and not __fish_seen_subcommand_from export import rotate help" -f -a "import" -d 'Take the key from standard input, and have the daemon take it up'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and not __fish_seen_subcommand_from export import rotate help" -f -a "rotate" -d 'Bring in a new key without interruption, in three steps'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and not __fish_seen_subcommand_from export import rotate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from export" -l file -d 'The key file, where the configuration names another than /etc/nlbd/CLUSTER.key' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from export" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from export" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from import" -l file -d 'The key file, where the configuration names another than /etc/nlbd/CLUSTER.key' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from import" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from import" -l force -d 'Also in place of an unrelated key'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from import" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from rotate" -l file -d 'The key file, where the configuration names another than /etc/nlbd/CLUSTER.key' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from rotate" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from rotate" -l force -d 'Also where a server has other keys than this one'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from rotate" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "export" -d 'Write the key to standard output, for `nlbctl key import` on another server'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "import" -d 'Take the key from standard input, and have the daemon take it up'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Bring in a new key without interruption, in three steps'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand completions" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand completions" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand completions" -s h -l help -d 'Print help'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand check-config" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand check-config" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand check-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand metrics" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand metrics" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand metrics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand reload" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand reload" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and not __fish_seen_subcommand_from record help" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and not __fish_seen_subcommand_from record help" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and not __fish_seen_subcommand_from record help" -s h -l help -d 'Print help'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and not __fish_seen_subcommand_from record help" -f -a "record" -d 'Write down what this node is told and what it decides, for a bug report'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and not __fish_seen_subcommand_from record help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and __fish_seen_subcommand_from record" -s o -l output -d 'The file; it must not exist yet' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and __fish_seen_subcommand_from record" -s s -l seconds -d 'How long, 1 to 600 s; interrupting ends it earlier' -r
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and __fish_seen_subcommand_from record" -l run-dir -d 'The daemon\'s run directory, where its socket is' -r -F
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and __fish_seen_subcommand_from record" -l from-start -d 'Begin when the cluster starts next: after `nlbctl leave`, with `nlbctl reload`'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and __fish_seen_subcommand_from record" -l json -d 'Print JSON instead of words. Fields are added with time, never renamed'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and __fish_seen_subcommand_from record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and __fish_seen_subcommand_from help" -f -a "record" -d 'Write down what this node is told and what it decides, for a bug report'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand debug; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "addif" -d 'Serve a cluster on an interface; the first one starts or joins the cluster'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "delif" -d 'Serve a cluster no longer on an interface; with the last one the cluster is left'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "status" -d 'Say whether all is well, and why not'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "nodes" -d 'List the nodes, as this node sees them'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "buckets" -d 'Show which node has which buckets'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "clients" -d 'List the clients that this node keeps'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "explain" -d 'Say which node takes a client, and why'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "set_weight" -d 'Set this node\'s weight by hand'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "weight_mode" -d 'Choose where this node\'s weight comes from'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "leave" -d 'Hand every client over and leave the cluster, until reload or the daemon\'s next start'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "drain" -d 'Take no new clients and keep the old ones'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "restart-hold" -d 'Announce that the daemon is about to be restarted, so that no client notices'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "undrain" -d 'Take new clients again'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "events" -d 'Print what happened, and why, in order; with --follow, go on as things happen'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "top" -d 'Watch the cluster on the whole screen'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "preflight" -d 'Say whether this server and its network are fit for a cluster, and what to do'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "key" -d 'Bring the cluster\'s key to other servers, or replace it without interruption'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "completions" -d 'Print completions for a shell'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "check-config" -d 'Check the configuration, or another file as if it were that, and apply nothing'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "metrics" -d 'Print the daemon\'s metrics in the OpenMetrics text format'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "reload" -d 'Have the daemon read its configuration again; nothing changes unless all of it is valid'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "debug" -d 'For bug reports'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and not __fish_seen_subcommand_from addif delif status nodes buckets clients explain set_weight weight_mode leave drain restart-hold undrain events top preflight key completions check-config metrics reload debug help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "export" -d 'Write the key to standard output, for `nlbctl key import` on another server'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "import" -d 'Take the key from standard input, and have the daemon take it up'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "rotate" -d 'Bring in a new key without interruption, in three steps'
complete -c nlbctl -n "__fish_nlbctl_using_subcommand help; and __fish_seen_subcommand_from debug" -f -a "record" -d 'Write down what this node is told and what it decides, for a bug report'
